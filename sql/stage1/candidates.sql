-- Pairs of stage 1, as it will be in the next iteration, that nobody has been asked about up to $iteration.
-- $iteration VARCHAR
SELECT pair_id, cluster_id, vector
FROM embeddings JOIN clean_pool USING (pair_id)
WHERE joined <= right($iteration, 2)::INT + 1 AND NOT conflict
    AND pair_id NOT IN (SELECT pair_id FROM annotation_batch WHERE iteration <= $iteration)
ORDER BY pair_id
