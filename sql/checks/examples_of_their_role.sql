-- A rerun of an iteration does not look at what later ones left; stage 2 has the gold of all.
-- $partition VARCHAR
SELECT pair_id, example FROM (SELECT DISTINCT pair_id, unnest(examples) AS example FROM new)
WHERE example NOT IN (
    SELECT pair_id FROM gold WHERE is_example(role) AND (iteration <= $partition OR $partition NOT LIKE 'iter_%')
)
