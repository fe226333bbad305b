-- Attributes of the clean pool where pairs have them, as (figure, item, n, out_of).
WITH about AS (
    SELECT category, objectivity, controversiality FROM clean_pool JOIN pair_attributes USING (pair_id)
)
SELECT figure, item, count(*) AS n, (SELECT count(*) FROM about) AS out_of
FROM (UNPIVOT about ON category, objectivity, controversiality INTO NAME figure VALUE item)
GROUP BY ALL ORDER BY ALL
