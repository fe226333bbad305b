-- The drawn pairs with their texts.
SELECT pair_id, comparison_id, cluster_id, conversation, chosen, rejected
FROM audit_sample JOIN clean_pool USING (pair_id)
ORDER BY pair_id
