-- $partition VARCHAR
SELECT pair_id, query_pair FROM new
WHERE query_pair NOT IN (SELECT pair_id FROM gold WHERE is_open(role) AND iteration <= $partition)
