-- Both models' margins in the original order and the judges' sum beside what people said; `drawn` marks pairs of the
-- audit, `cell` those that a weight is for. Gold that the judges would be asked about has no sum and is left out.
-- $policy VARCHAR, $threshold DOUBLE, $band DOUBLE
-- TABLE labels AS stage2/calibration_gold
-- TABLE audited AS stage2/audit_labels
-- TABLE scores_now LIKE scores
WITH margins AS (
    SELECT pair_id, r_chosen_best - r_rejected_best AS best, r_chosen_gold - r_rejected_gold AS gold, votes, is_right,
        true AS drawn
    FROM audited JOIN scores s USING (pair_id) LEFT JOIN stage2_verdicts USING (pair_id)
    WHERE unscored_best IS NULL AND unscored_gold IS NULL
    UNION ALL
    SELECT pair_id, r_chosen_best - r_rejected_best, r_chosen_gold - r_rejected_gold, NULL, is_right, false
    FROM scores_now JOIN labels USING (pair_id) WHERE unscored_best IS NULL AND unscored_gold IS NULL
), voted AS (
    SELECT *, stage2_vote(sigmoid(best), $threshold, $band) AS b, stage2_vote(sigmoid(gold), 0.5, 0.0) AS g,
        stage2_asked($policy, b, g) AS asked
    FROM margins
)
SELECT pair_id, best, gold, CASE WHEN asked THEN judges_sum(votes) ELSE 0 END::DOUBLE AS judged, is_right, drawn,
    stratum_of(b, g) || CASE WHEN asked THEN ', asked' ELSE '' END AS cell
FROM voted WHERE drawn OR NOT asked
ORDER BY pair_id
