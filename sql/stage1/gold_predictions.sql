-- What a model thinks of gold so far, in the human order, and how many neighbours each pair may ask for.
-- $iteration VARCHAR, $model VARCHAR, $k_max BIGINT
-- TABLE scores_now (pair_id VARCHAR, r_chosen_loop DOUBLE, r_rejected_loop DOUBLE, unscored_loop VARCHAR)
SELECT pair_id, role, r_chosen_loop AS reward_better, r_rejected_loop AS reward_worse,
    sigmoid(r_chosen_loop - r_rejected_loop) AS p, $model AS model_id, k_for(p, $k_max) AS k
FROM scores_now JOIN gold USING (pair_id)
WHERE unscored_loop IS NULL AND iteration <= $iteration
ORDER BY pair_id
