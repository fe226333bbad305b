-- Keep, flip or drop by calibrated thresholds; the judges are not asked. `thresholds`: stratum, keep, flip, each the
-- least probability at which the stated error bound held, null where it held nowhere.
WITH votes AS (
    SELECT pair_id, coalesce(unscored_best, unscored_gold) AS unscored, {p_right} AS p_right,
        stage2_vote(p_best, {threshold}, {band}) AS b, stage2_vote(p_gold, 0.5, 0.0) AS g, {stratum} AS stratum
    FROM scores_to_decide
), thresholds AS (
    FROM (VALUES {thresholds}) t (stratum, keep, flip)
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
    '{rule}' AS rule
FROM classed
