-- Gold of role test that chance drew, both responses of each pair; subsets are categories.
SELECT pair_id AS item_id, candidate::BIGINT AS candidate, 'pair' AS unit, '' AS item_group,
    coalesce(category, 'other') AS subset, (candidate = 0) = (verified_order = 'original') AS label,
    NULL::BIGINT[] AS against, conversation, [chosen, rejected][candidate + 1] AS response
FROM (
    SELECT pair_id, verified_order, unnest([0, 1]) AS candidate FROM gold JOIN annotation_batch USING (pair_id, iteration)
    WHERE role = 'test' AND by_chance(why)
)
JOIN (SELECT pair_id, conversation, chosen, rejected FROM clean_pool) USING (pair_id)
LEFT JOIN (SELECT pair_id, category FROM attributes) USING (pair_id)
