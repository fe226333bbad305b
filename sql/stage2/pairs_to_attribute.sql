-- The routed pairs of a bucket with their texts.
-- $bucket VARCHAR
SELECT pair_id, comparison_id, conversation, chosen, rejected FROM clean_pool
WHERE bucket = $bucket AND pair_id IN (SELECT pair_id FROM routed WHERE bucket = $bucket)
ORDER BY pair_id
