-- A training set of release/arm_pairs as orders of the pool's pairs.
-- TABLE arm (pair_id VARCHAR, chosen VARCHAR, weight DOUBLE, target DOUBLE)
SELECT pair_id, CASE WHEN arm.chosen = p.chosen THEN 'original' ELSE 'swapped' END AS verified_order, weight, target
FROM arm JOIN clean_pool p USING (pair_id)
