-- Answered comparisons that are not in the pool.
-- TABLE answered (comparison_id VARCHAR)
SELECT comparison_id FROM answered ANTI JOIN clean_pool USING (comparison_id) ORDER BY 1
