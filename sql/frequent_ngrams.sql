-- Contaminated pairs that would stay if n-grams found in more than $limit distinct conversations of the bucket did not
-- count: boilerplate and templates rather than the benchmark (tables as in contaminated.sql).
WITH matches AS (
    SELECT p.pair_id, p.conv_id, h.gram FROM hits h JOIN pairs p ON h.conv_id = p.conv_id
    UNION ALL
    SELECT p.pair_id, p.conv_id, h.gram FROM hits h JOIN pairs p ON h.pair_id = p.pair_id
), rare AS (
    SELECT gram FROM matches GROUP BY gram HAVING count(DISTINCT conv_id) <= $limit
)
SELECT count(DISTINCT pair_id) FROM matches WHERE pair_id NOT IN (SELECT pair_id FROM matches JOIN rare USING (gram));
