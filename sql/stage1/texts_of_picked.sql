-- Texts of the pairs that were picked.
-- TABLE picked (pair_id VARCHAR)
SELECT pair_id, conversation, chosen, rejected FROM clean_pool SEMI JOIN picked USING (pair_id)
