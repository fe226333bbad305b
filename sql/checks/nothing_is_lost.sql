-- $partition VARCHAR
SELECT pair_id FROM deduped
WHERE bucket = $partition AND pair_id NOT IN (SELECT pair_id FROM new)
    AND pair_id NOT IN (SELECT pair_id FROM contaminated WHERE bucket = $partition)
