-- Conversations of a training set's pairs.
-- TABLE orders (pair_id VARCHAR)
SELECT pair_id, conversation FROM clean_pool SEMI JOIN orders USING (pair_id)
