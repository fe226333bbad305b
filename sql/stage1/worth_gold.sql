-- Pairs that people decided, in the order of the original label, with what a verdict on curation needs. The test share
-- stays unread. `by_chance`: drawn at random, so that shares among them are those of the pool.
-- $upto VARCHAR
SELECT g.pair_id, c.comparison_id, c.cluster_id, c.conversation, c.chosen, c.rejected, c.source,
    coalesce(a.category, '') AS category, g.verified_order = 'original' AS is_right, g.votes_original, g.votes_swapped,
    coalesce(by_chance(b.why), false) AS by_chance
FROM gold g
JOIN clean_pool c USING (pair_id)
LEFT JOIN attributes a USING (pair_id)
LEFT JOIN annotation_batch b USING (pair_id, iteration)
WHERE g.role <> 'test' AND g.iteration <= $upto
ORDER BY pair_id
