-- The gold pairs that ask for neighbours: all of them, or those the model gets wrong or cannot tell.
-- $iteration VARCHAR, $everything BOOLEAN
SELECT p.pair_id, p.k, vector, cluster_id
FROM gold_predictions p JOIN gold_attributes USING (pair_id)
WHERE p.iteration = $iteration AND ($everything OR p.p <= 0.5)
ORDER BY p.pair_id
