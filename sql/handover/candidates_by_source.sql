-- Every source with what is in the way of handing its pairs over, and how many there would be.
-- TABLE candidates (pair_id VARCHAR, source VARCHAR)
-- TABLE barred (source VARCHAR, path VARCHAR, fingerprint VARCHAR, license VARCHAR, label_origin VARCHAR, redistribution BOOLEAN, barred VARCHAR)
SELECT b.source, b.path, b.fingerprint, b.license, b.label_origin, b.redistribution, b.barred, count(c.pair_id) AS pairs
FROM barred b LEFT JOIN candidates c USING (source) GROUP BY ALL ORDER BY b.source
