-- A rerun of an iteration does not look at what later ones left; stage 2 has the gold of all.
-- $partition VARCHAR
SELECT DISTINCT pair_id FROM new
WHERE pair_id IN (SELECT pair_id FROM gold WHERE iteration <= $partition OR $partition NOT LIKE 'iter_%')
