-- What people decided about the pairs that the panel was measured on.
-- TABLE measured LIKE gold_votes
SELECT pair_id, verified_order FROM gold SEMI JOIN measured USING (pair_id) ORDER BY pair_id
