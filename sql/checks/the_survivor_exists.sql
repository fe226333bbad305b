-- $partition VARCHAR
SELECT n.pair_id
FROM new n
LEFT JOIN deduped d ON n.pair_id = d.pair_id AND n.kept_source = d.source AND n.kept_row = d.row AND d.bucket = $partition
WHERE d.pair_id IS NULL
