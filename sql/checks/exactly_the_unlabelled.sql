-- $partition VARCHAR
SELECT pair_id FROM clean_pool
WHERE bucket = $partition
    AND (pair_id IN (SELECT pair_id FROM new))
        = (pair_id IN (SELECT pair_id FROM verified UNION SELECT pair_id FROM undecided))
