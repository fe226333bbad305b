-- The panel's votes on gold that filters may look at.
SELECT v.* EXCLUDE (iteration) FROM gold_votes v SEMI JOIN (FROM gold WHERE role <> 'test') USING (pair_id)
ORDER BY pair_id, judge, replicate
