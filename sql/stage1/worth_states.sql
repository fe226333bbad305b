-- States of some texts, by the md5 of each; of those that are longer than the models may read there is none.
-- $texts VARCHAR[]
SELECT text, min(state) AS state FROM states
WHERE state IS NOT NULL AND text IN (SELECT unnest($texts::VARCHAR[]))
GROUP BY text
