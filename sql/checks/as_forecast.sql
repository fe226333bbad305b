-- $partition VARCHAR
SELECT pair_id
FROM (SELECT DISTINCT pair_id FROM new) n
FULL JOIN (SELECT pair_id FROM routed WHERE bucket = $partition) r USING (pair_id)
WHERE n.pair_id IS NULL OR r.pair_id IS NULL
