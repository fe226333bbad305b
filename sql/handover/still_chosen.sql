-- The chosen pairs less those that filters have left out.
-- TABLE chosen_pairs (pair_id VARCHAR)
-- TABLE left_out (pair_id VARCHAR)
SELECT c.* FROM chosen_pairs c ANTI JOIN left_out USING (pair_id)
