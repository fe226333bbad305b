-- The distinct pairs of a bucket with their texts; $low and $high bound its ids, so that only their row groups are read.
-- $bucket VARCHAR, $low VARCHAR, $high VARCHAR
SELECT d.*, p.conversation, p.chosen, p.rejected
FROM raw_pool p
JOIN deduped d USING (comparison_id, pair_id, source, row, part)
WHERE d.bucket = $bucket AND p.comparison_id >= $low AND p.comparison_id < $high
