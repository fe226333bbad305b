-- Pairs of a bucket that stage 1 may label.
-- $bucket VARCHAR
SELECT pair_id, comparison_id, conversation, chosen, rejected FROM clean_pool
WHERE bucket = $bucket AND stage IN ('seed', 'stage1')
ORDER BY pair_id
