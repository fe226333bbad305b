-- $partition VARCHAR
SELECT pair_id
FROM (SELECT pair_id, count(*) AS lost FROM new GROUP BY 1) JOIN deduped d USING (pair_id)
WHERE d.bucket = $partition AND d.copies <> lost + 1
