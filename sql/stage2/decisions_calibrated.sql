-- Keep, flip or drop by calibrated thresholds; the judges are not asked. $strata, $keep and $flip are lists of the same
-- length: the least probability at which the stated error bound held in a stratum, null where it held nowhere.
-- $threshold DOUBLE, $band DOUBLE, $rule VARCHAR, $intercept DOUBLE, $best DOUBLE, $gold DOUBLE
-- $strata VARCHAR[], $keep DOUBLE[], $flip DOUBLE[]
-- TABLE scores_to_decide LIKE scores
WITH votes AS (
    SELECT pair_id, coalesce(unscored_best, unscored_gold) AS unscored,
        p_of_margins(r_chosen_best - r_rejected_best, r_chosen_gold - r_rejected_gold, $intercept, $best, $gold) AS p_right,
        stage2_vote(p_best, $threshold, $band) AS b, stage2_vote(p_gold, 0.5, 0.0) AS g, stratum_of(b, g) AS stratum
    FROM scores_to_decide
), thresholds AS (
    SELECT unnest($strata::VARCHAR[]) AS stratum, unnest($keep::DOUBLE[]) AS keep, unnest($flip::DOUBLE[]) AS flip
), classed AS (
    SELECT votes.*, CASE
        WHEN unscored IS NOT NULL THEN 'drop'
        WHEN p_right >= keep THEN 'keep'
        WHEN 1 - p_right >= flip THEN 'flip'
        ELSE 'drop'
    END AS class
    FROM votes LEFT JOIN thresholds USING (stratum)
)
SELECT pair_id, b, g, '' AS j, CASE class WHEN 'keep' THEN 'confident' ELSE 'unasked' END AS route, class,
    CASE WHEN class <> 'drop' THEN 'calibrated' ELSE coalesce(unscored, 'abstained') END AS reason, p_right,
    $rule AS rule
FROM classed
