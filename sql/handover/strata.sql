-- Objectivity of every pair that was embedded, '' where nobody labelled it; whether it is a candidate; and whether the
-- judges' verdict (table `judged`) is people's, null where either has none. By id.
-- TABLE chosen_pairs (pair_id VARCHAR)
-- TABLE judged (pair_id VARCHAR, verdict VARCHAR)
WITH looked AS (
    SELECT pair_id FROM chosen_pairs
    UNION
    SELECT pair_id FROM clean_pool WHERE pair_id IN (SELECT pair_id FROM gold WHERE role <> 'test')
)
SELECT pair_id, coalesce(a.objectivity, '') AS stratum, pair_id IN (SELECT pair_id FROM chosen_pairs) AS candidate,
    CASE WHEN j.verdict <> 'undecided' AND g.role <> 'test' THEN j.verdict = g.verified_order END AS equal
FROM looked LEFT JOIN pair_attributes a USING (pair_id) LEFT JOIN gold g USING (pair_id) LEFT JOIN judged j USING (pair_id)
ORDER BY pair_id
