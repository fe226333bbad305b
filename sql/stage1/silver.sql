-- What the judges decided in an iteration.
-- $iteration VARCHAR
SELECT pair_id, cluster_id, verdict AS verified_order, share
FROM verdicts JOIN annotation_batch USING (pair_id, iteration)
WHERE iteration = $iteration AND verdict IN ('original', 'swapped')
