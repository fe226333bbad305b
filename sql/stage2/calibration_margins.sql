-- Both models' margins in the original order beside what people said; `drawn` marks pairs of the audit.
-- TABLE labels AS stage2/calibration_gold
-- TABLE audited AS stage2/audit_labels
-- TABLE scores_now LIKE scores
SELECT pair_id, r_chosen_best - r_rejected_best AS best, r_chosen_gold - r_rejected_gold AS gold, is_right,
    pair_id IN (SELECT pair_id FROM audited) AS drawn
FROM scores_now JOIN labels USING (pair_id)
WHERE unscored_best IS NULL AND unscored_gold IS NULL
ORDER BY pair_id
