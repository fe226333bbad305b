-- Every verified pair of a bucket whose verified order is among $orders, with who verified it and by what rule; less the
-- clusters of the gold test share.
-- Its weight is the product of what applies to it: who verified it, whether it is flipped, whether it is risky.
-- $bucket VARCHAR, $orders VARCHAR[], $people DOUBLE, $judges DOUBLE, $models DOUBLE, $flipped DOUBLE, $risky DOUBLE
WITH admitted AS (
    SELECT pair_id, verified_order, label_source, label_source || ' ' || iteration AS rule, NULL AS p_right
    FROM verified
    UNION ALL
    SELECT pair_id, 'original', 'models', 'kept ' || reason, p_right FROM kept WHERE bucket = $bucket
    UNION ALL
    SELECT pair_id, 'swapped', 'models', 'flipped ' || reason, p_right FROM flipped WHERE bucket = $bucket
)
SELECT pair_id, conv_id, conversation,
    better_of(verified_order, chosen, rejected) AS chosen, worse_of(verified_order, chosen, rejected) AS rejected,
    verified_order = 'swapped' AS flipped, label_source, rule,
    CASE label_source WHEN 'people' THEN $people WHEN 'judges' THEN $judges ELSE $models END
        * CASE WHEN verified_order = 'swapped' THEN $flipped ELSE 1.0 END
        * CASE WHEN NOT low_risk(objectivity, controversiality) THEN $risky ELSE 1.0 END AS weight,
    p_right,
    CASE WHEN objectivity IS NULL THEN NULL WHEN low_risk(objectivity, controversiality) THEN 'low' ELSE 'risky' END AS risk,
    p.source, s.license
FROM clean_pool p JOIN admitted USING (pair_id) JOIN sources s ON s.source = p.source
LEFT JOIN pair_attributes USING (pair_id)
WHERE p.bucket = $bucket AND verified_order IN $orders
    AND p.cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
