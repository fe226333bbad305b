-- The neighbours of each target as they are shown: in the human order, with the attributes that people left.
-- TABLE neighbours (target_pair VARCHAR, rank BIGINT, gold_pair VARCHAR, similarity DOUBLE)
SELECT target_pair, rank, gold_pair, similarity, conversation,
    better_of(g.verified_order, chosen, rejected) AS chosen, worse_of(g.verified_order, chosen, rejected) AS rejected,
    category, objectivity, controversiality, desired, guideline
FROM neighbours n JOIN clean_pool c ON c.pair_id = n.gold_pair JOIN gold_attributes g ON g.pair_id = n.gold_pair
ORDER BY target_pair, rank
