-- Iteration 0: the seed selection as a batch.
SELECT pair_id, cluster_id, assigned_to, 'seed' AS why,
    CASE WHEN low_risk(objectivity, controversiality) THEN 0 ELSE 1 END AS priority, inclusion, NULL::DOUBLE AS p
FROM seed_selection JOIN attributes USING (pair_id)
