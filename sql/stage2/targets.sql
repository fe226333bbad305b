-- The routed pairs of a bucket as judges see them.
-- $bucket VARCHAR
SELECT pair_id, comparison_id, cluster_id, conversation, chosen, rejected, category, objectivity, controversiality, desired,
    guideline, 0::BIGINT AS priority, k
FROM routed JOIN clean_pool USING (pair_id, bucket) JOIN stage2_attributes USING (pair_id, bucket)
WHERE bucket = $bucket
ORDER BY pair_id
