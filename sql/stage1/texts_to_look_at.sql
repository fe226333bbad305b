-- Texts of a part of the candidates and of all silver so far.
-- $iteration VARCHAR
-- TABLE looked_at (pair_id VARCHAR)
SELECT pair_id, conversation, chosen, rejected FROM clean_pool
WHERE pair_id IN (SELECT pair_id FROM looked_at UNION ALL SELECT pair_id FROM silver WHERE iteration <= $iteration)
