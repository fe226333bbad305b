-- Some pairs with their texts, by id.
-- $ids VARCHAR[], $low VARCHAR, $high VARCHAR
SELECT pair_id, conversation, chosen, rejected FROM clean_pool
WHERE pair_id >= $low AND pair_id <= $high AND pair_id IN (SELECT unnest($ids)) ORDER BY pair_id
