-- Keep, flip or drop by calibrated thresholds. Judges are asked where the policy asks them; their sum is a part of the
-- probability. $strata, $keep and $flip are lists of the same length: the least probability at which the stated error
-- bound held in a stratum, null where it held nowhere.
-- $policy VARCHAR, $threshold DOUBLE, $band DOUBLE, $rule VARCHAR
-- $intercept DOUBLE, $best DOUBLE, $gold DOUBLE, $judges DOUBLE, $strata VARCHAR[], $keep DOUBLE[], $flip DOUBLE[]
-- TABLE scores_to_decide LIKE scores
-- TABLE verdicts_to_decide LIKE stage2_verdicts
WITH votes AS (
    SELECT s.*, verdict, votes, coalesce(unscored_best, unscored_gold) AS unscored,
        stage2_vote(p_best, $threshold, $band) AS b, stage2_vote(p_gold, 0.5, 0.0) AS g, stratum_of(b, g) AS stratum,
        stage2_asked($policy, b, g) AS asked,
        p_of_margins(r_chosen_best - r_rejected_best, r_chosen_gold - r_rejected_gold,
            CASE WHEN asked THEN judges_sum(votes) ELSE 0 END, $intercept, $best, $gold, $judges) AS p_right
    FROM scores_to_decide s LEFT JOIN verdicts_to_decide v USING (pair_id)
), heard AS (
    SELECT *, CASE WHEN NOT asked THEN '' ELSE
        CASE verdict WHEN 'original' THEN '+' WHEN 'swapped' THEN '-' WHEN 'undecided' THEN '0' ELSE '' END END AS j
    FROM votes
), thresholds AS (
    SELECT unnest($strata::VARCHAR[]) AS stratum, unnest($keep::DOUBLE[]) AS keep, unnest($flip::DOUBLE[]) AS flip
), classed AS (
    SELECT heard.*, CASE
        WHEN unscored IS NOT NULL THEN 'drop'
        WHEN p_right >= keep THEN 'keep'
        WHEN 1 - p_right >= flip THEN 'flip'
        ELSE 'drop'
    END AS class
    FROM heard LEFT JOIN thresholds USING (stratum)
)
SELECT pair_id, b, g, j,
    CASE WHEN j <> '' THEN 'judged' WHEN class = 'keep' THEN 'confident' ELSE 'unasked' END AS route, class,
    CASE WHEN class <> 'drop' THEN 'calibrated' ELSE coalesce(unscored, 'abstained') END AS reason, p_right,
    $rule AS rule
FROM classed
