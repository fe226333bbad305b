-- What the page of `assay explore` filters by: every pair of the clean pool, without its texts. '' where nobody knows.
SELECT p.pair_id, p.source, p.stage, o.class, coalesce(o.reason, '') AS reason, coalesce(o.decided_by, '') AS decided_by,
    coalesce(a.category, '') AS category, coalesce(a.objectivity, '') AS objectivity,
    coalesce(a.controversiality, '') AS controversiality,
    CASE WHEN a.objectivity IS NULL THEN '' WHEN low_risk(a.objectivity, a.controversiality) THEN 'low' ELSE 'risky' END AS risk,
    s.p_best, s.p_gold, d.p_right, length(p.chosen) AS chosen_chars, length(p.rejected) AS rejected_chars
FROM clean_pool p JOIN outcome o USING (pair_id)
LEFT JOIN pair_attributes a USING (pair_id) LEFT JOIN scores s USING (pair_id) LEFT JOIN decisions d USING (pair_id)
ORDER BY p.pair_id
