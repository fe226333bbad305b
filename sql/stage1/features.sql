-- Candidates and silver as the loop's model sees them; `chance` is a candidate's probability of having been looked at.
-- TABLE seen (pair_id VARCHAR, r_chosen DOUBLE, r_rejected DOUBLE, difference FLOAT[])
-- TABLE open_pairs (pair_id VARCHAR, similarity DOUBLE)
-- TABLE looked_at (pair_id VARCHAR, inclusion DOUBLE)
SELECT pair_id, similarity, difference, o.pair_id IS NULL AS labelled, l.inclusion AS chance,
    sigmoid(r_chosen - r_rejected) AS p
FROM seen FULL JOIN open_pairs o USING (pair_id) LEFT JOIN looked_at l USING (pair_id)
