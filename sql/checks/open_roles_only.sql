-- $partition VARCHAR
SELECT pair_id FROM new WHERE pair_id IN (SELECT pair_id FROM gold WHERE NOT is_open(role) AND iteration <= $partition)
