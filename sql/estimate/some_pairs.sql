-- Some pairs of a bucket with their texts, of these stages.
-- $bucket VARCHAR, $stages VARCHAR[], $n BIGINT
SELECT pair_id, comparison_id, conversation, chosen, rejected FROM clean_pool
WHERE bucket = $bucket AND stage IN $stages
ORDER BY pair_id LIMIT $n
