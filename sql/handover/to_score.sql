-- Some pairs in the order of the release, for their margins.
-- TABLE chosen_pairs (pair_id VARCHAR, flipped BOOLEAN)
-- TABLE wanted (pair_id VARCHAR)
SELECT pair_id, conversation, CASE WHEN flipped THEN p.rejected ELSE p.chosen END AS chosen,
    CASE WHEN flipped THEN p.chosen ELSE p.rejected END AS rejected
FROM clean_pool p JOIN chosen_pairs USING (pair_id) SEMI JOIN wanted USING (pair_id)
