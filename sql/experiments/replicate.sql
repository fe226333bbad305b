-- The pairs of one training of an arm, in their order. Where each training draws the pairs anew ($anew), a pair counts as
-- often as a Poisson number of mean one says, which is the same for all arms.
-- $set VARCHAR, $lot VARCHAR, $anew BOOLEAN
WITH drawn AS (
    SELECT *, draw(pair_id, $lot) / 18446744073709551616.0 AS u FROM experiment_pairs WHERE training_set = $set
), counted AS (
    SELECT *, CASE WHEN NOT $anew THEN 1 WHEN u < 0.36788 THEN 0 WHEN u < 0.73576 THEN 1 WHEN u < 0.91970 THEN 2
        WHEN u < 0.98101 THEN 3 WHEN u < 0.99634 THEN 4 ELSE 5 END AS times FROM drawn
)
SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
    worse_of(verified_order, chosen, rejected) AS rejected, weight * times AS weight, target
FROM counted JOIN clean_pool USING (pair_id) WHERE times > 0
