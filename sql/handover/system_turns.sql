-- How many pairs of a release begin with a system turn.
-- TABLE chosen_pairs (pair_id VARCHAR)
SELECT count(*) FROM clean_pool SEMI JOIN chosen_pairs USING (pair_id)
WHERE len([t FOR t IN conversation IF t.role = 'system']) > 0
