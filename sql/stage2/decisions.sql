-- Keep, flip or drop by the paper's rule, with the votes it follows from. A verdict that the rule does not ask for is
-- not heard, so that it does not matter when the judges were asked. Without coefficients ($intercept, $best, $gold) of a
-- calibration p_right is null.
-- $policy VARCHAR, $threshold DOUBLE, $band DOUBLE, $rule VARCHAR, $intercept DOUBLE, $best DOUBLE, $gold DOUBLE
-- TABLE scores_to_decide LIKE scores
-- TABLE verdicts_to_decide LIKE stage2_verdicts
WITH votes AS (
    SELECT s.pair_id, p_of_margins(r_chosen_best - r_rejected_best, r_chosen_gold - r_rejected_gold, $intercept, $best, $gold)
        AS p_right, verdict, stage2_unscored($policy, unscored_best, unscored_gold) AS unscored,
        stage2_vote(p_best, $threshold, $band) AS b, stage2_vote(p_gold, 0.5, 0.0) AS g,
        stage2_asked($policy, b, g) AS asked
    FROM scores_to_decide s LEFT JOIN verdicts_to_decide v USING (pair_id)
), heard AS (
    SELECT *, CASE WHEN NOT asked THEN '' ELSE
        CASE verdict WHEN 'original' THEN '+' WHEN 'swapped' THEN '-' WHEN 'undecided' THEN '0' ELSE '' END END AS j
    FROM votes
), classed AS (
    SELECT *, CASE WHEN asked AND j = '' THEN 'drop' ELSE stage2_class($policy, b, g, j) END AS class
    FROM heard
)
SELECT pair_id, b, g, j,
    CASE WHEN j <> '' THEN 'judged' WHEN class = 'keep' THEN 'confident' ELSE 'unasked' END AS route,
    class, stage2_reason($policy, b, g, j, asked, class, unscored) AS reason, p_right, $rule AS rule
FROM classed
