-- Keep, flip or drop by the paper's rule, with the votes it follows from. A verdict that the rule does not ask for is
-- not heard, so that it does not matter when the judges were asked. Without coefficients ($intercept, $best, $gold,
-- $judges) of a calibration p_right is null. What the guards do not let be kept or flipped is dropped for the reason that
-- they give ($no_keep, $no_flip; '' where it may be).
-- $policy VARCHAR, $threshold DOUBLE, $band DOUBLE, $rule VARCHAR, $no_keep VARCHAR, $no_flip VARCHAR
-- $intercept DOUBLE, $best DOUBLE, $gold DOUBLE, $judges DOUBLE
-- TABLE scores_to_decide LIKE scores
-- TABLE verdicts_to_decide LIKE stage2_verdicts
WITH votes AS (
    SELECT s.*, verdict, votes, stage2_unscored($policy, unscored_best, unscored_gold) AS unscored,
        stage2_vote(p_best, $threshold, $band) AS b, stage2_vote(p_gold, 0.5, 0.0) AS g,
        stage2_asked($policy, b, g) AS asked
    FROM scores_to_decide s LEFT JOIN verdicts_to_decide v USING (pair_id)
), heard AS (
    SELECT *, CASE WHEN NOT asked THEN '' ELSE
        CASE verdict WHEN 'original' THEN '+' WHEN 'swapped' THEN '-' WHEN 'undecided' THEN '0' ELSE '' END END AS j,
        p_of_margins(r_chosen_best - r_rejected_best, r_chosen_gold - r_rejected_gold,
            CASE WHEN asked THEN judges_sum(votes) ELSE 0 END, $intercept, $best, $gold, $judges) AS p_right
    FROM votes
), classed AS (
    SELECT *, CASE WHEN asked AND j = '' THEN 'drop' ELSE stage2_class($policy, b, g, j) END AS proposed
    FROM heard
), guarded AS (
    SELECT *, CASE proposed WHEN 'keep' THEN $no_keep WHEN 'flip' THEN $no_flip ELSE '' END AS refused,
        CASE refused WHEN '' THEN proposed ELSE 'drop' END AS class
    FROM classed
)
SELECT pair_id, b, g, j,
    CASE WHEN j <> '' THEN 'judged' WHEN class = 'keep' THEN 'confident' ELSE 'unasked' END AS route,
    class, coalesce(nullif(refused, ''), stage2_reason($policy, b, g, j, asked, class, unscored)) AS reason, p_right,
    $rule AS rule
FROM guarded
