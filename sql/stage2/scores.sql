-- Rewards of both models and p = sigmoid(r_chosen - r_rejected) (spec 3.04).
-- $best_model VARCHAR, $gold_model VARCHAR
-- TABLE scores_now LIKE scores
SELECT pair_id,
    r_chosen_best, r_rejected_best, sigmoid(r_chosen_best - r_rejected_best) AS p_best,
    r_chosen_gold, r_rejected_gold, sigmoid(r_chosen_gold - r_rejected_gold) AS p_gold,
    $best_model AS best_model, $gold_model AS gold_model, unscored_best, unscored_gold, spread_best, spread_gold
FROM scores_now
