-- $partition VARCHAR
SELECT pair_id FROM scores WHERE bucket = $partition AND pair_id NOT IN (SELECT pair_id FROM new)
