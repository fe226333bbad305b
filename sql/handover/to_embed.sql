-- Conversations of the candidates and of the gold that filters look at, as what is embedded: without attributes, which not
-- every pair has; by id.
-- TABLE chosen_pairs (pair_id VARCHAR)
SELECT pair_id, conversation, '' AS category, '' AS objectivity, '' AS controversiality, '' AS desired, '' AS guideline
FROM clean_pool
WHERE pair_id IN (SELECT pair_id FROM chosen_pairs) OR pair_id IN (SELECT pair_id FROM gold WHERE role <> 'test')
ORDER BY pair_id
