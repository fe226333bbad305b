-- Whether each pair of stage 2 that the reference knows is decided right: by both models alone, and with the judges by the
-- paper's rule. One half where it is not decided.
-- TABLE truth AS report/truth
WITH decided AS (
    SELECT original_right, stage2_class('both', b, g, '') AS alone, stage2_class('symmetric', b, g, j) AS judged, pair_id
    FROM decisions JOIN truth USING (pair_id)
    WHERE original_right IS NOT NULL AND EXISTS (FROM decisions WHERE j <> '')
)
SELECT CASE alone WHEN 'drop' THEN 0.5 ELSE (original_right = (alone = 'keep'))::INT::DOUBLE END AS alone,
    CASE judged WHEN 'drop' THEN 0.5 ELSE (original_right = (judged = 'keep'))::INT::DOUBLE END AS judged
FROM decided ORDER BY pair_id
