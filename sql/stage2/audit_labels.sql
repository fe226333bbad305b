-- What most people said of each pair that probabilities and thresholds rest on: whether the original order is right. Where
-- no majority can tell there is no row, and the bound does not speak of such pairs.
SELECT pair_id, majority(votes_for('original', verdict, shown_first), votes_for('swapped', verdict, shown_first), count(*))
    = 'original' AS is_right
FROM (FROM audit QUALIFY heard(pair_id, role)) WHERE pair_id IN (SELECT pair_id FROM audit_sample WHERE of_strata)
GROUP BY pair_id HAVING is_right IS NOT NULL
ORDER BY pair_id
