-- Rewards of both models and p = sigmoid(r_chosen - r_rejected) (spec 3.04).
SELECT pair_id,
    r_chosen_best, r_rejected_best, 1 / (1 + exp(r_rejected_best - r_chosen_best)) AS p_best,
    r_chosen_gold, r_rejected_gold, 1 / (1 + exp(r_rejected_gold - r_chosen_gold)) AS p_gold,
    $best_model AS best_model, $gold_model AS gold_model, unscored_best, unscored_gold
FROM scores_now
