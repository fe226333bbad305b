-- $partition VARCHAR
SELECT n.source, n.row
FROM new n
JOIN (SELECT source, row FROM raw_pool UNION ALL SELECT source, row FROM unusable) o USING (source, row)
WHERE o.source = $partition
