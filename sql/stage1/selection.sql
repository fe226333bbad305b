-- The picked pairs with what this iteration's model thinks of them.
-- TABLE picked LIKE selection
-- TABLE scored (pair_id VARCHAR, r_chosen_loop DOUBLE, r_rejected_loop DOUBLE)
SELECT picked.pair_id, picked.why, picked.rank, picked.score, picked.inclusion,
    sigmoid(r_chosen_loop - r_rejected_loop) AS p
FROM picked LEFT JOIN scored USING (pair_id)
