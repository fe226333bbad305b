-- The pairs of a bucket with their texts.
-- $bucket VARCHAR
SELECT pair_id, conversation, chosen, rejected FROM clean_pool WHERE bucket = $bucket ORDER BY pair_id
