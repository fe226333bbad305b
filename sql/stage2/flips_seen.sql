-- What people said of the drawn would-be flips: true where the label was wrong and the flip is right, null where no
-- majority can tell. A pair that nobody answered has no row.
SELECT majority(votes_for('original', verdict, shown_first), votes_for('swapped', verdict, shown_first), count(*))
    = 'swapped' AS is_right
FROM (FROM audit QUALIFY heard(pair_id, role)) WHERE pair_id IN (SELECT pair_id FROM audit_sample WHERE of_flips)
GROUP BY pair_id ORDER BY pair_id
