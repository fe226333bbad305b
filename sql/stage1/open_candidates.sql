-- Candidates of the next iteration with the similarity to the gold pair that retrieved them, null for the others.
-- $iteration VARCHAR
-- TABLE candidates AS stage1/candidates
SELECT pair_id, similarity
FROM candidates LEFT JOIN (SELECT pair_id, similarity FROM retrieved WHERE iteration = $iteration) USING (pair_id)
