-- What gold says before anything is decided: people's pairs, those tested by models that had not learned from them, and
-- of these how many were right; the share of original labels that people confirm, among pairs that chance brought in where
-- these are many enough; the best model's accuracy, null where it learned from people's pairs, with its pairs.
-- $least BIGINT
WITH measured AS (
    SELECT verified_order = 'original' AS is_right, coalesce(by_chance(why), false) AS by_chance
    FROM gold LEFT JOIN annotation_batch b USING (pair_id, iteration) WHERE role <> 'test'
), folds AS (
    SELECT coalesce(sum(tested), 0)::BIGINT AS tested, coalesce(sum(accuracy * tested), 0)::DOUBLE AS hits
    FROM gold_folds WHERE chosen
)
SELECT count(*) AS gold, any_value(tested) AS tested, any_value(hits) AS hits,
    coalesce(CASE WHEN count(*) FILTER (by_chance) >= $least THEN avg(is_right::INT) FILTER (by_chance)
        ELSE avg(is_right::INT) END, 0.5)::DOUBLE AS labels,
    (SELECT accuracy FROM best_reward_model WHERE best AND EXISTS (FROM annotation_batch WHERE assigned_to = 'judges'))
        AS best,
    coalesce((SELECT pairs FROM best_reward_model WHERE best), 0)::BIGINT AS best_pairs,
    (SELECT avg((verified_order = 'original')::INT) FROM gold WHERE is_open(role))::DOUBLE AS labels_beside_best
FROM folds LEFT JOIN measured ON true
