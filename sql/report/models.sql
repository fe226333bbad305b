-- Accuracy of the loop's reward models on people's labels: all of them on the final gold, and each on the gold of its
-- own time. Ties count half.
SELECT 'rm_accuracy_final_gold' AS figure, iteration AS figure_group, accuracy * pairs AS hits, pairs AS n,
    'people' AS against
FROM best_reward_model
UNION ALL
SELECT 'rm_accuracy_own_gold', iteration, sum(hit(p - 0.5)), count(*), 'people'
FROM gold_predictions GROUP BY iteration
