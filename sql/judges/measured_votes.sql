-- The panel's votes up to an iteration on gold pairs that it gave at least one answer to.
-- $iteration VARCHAR
SELECT v.* EXCLUDE (iteration)
FROM gold_votes v SEMI JOIN (SELECT pair_id FROM gold_votes WHERE status = 'ok' AND iteration <= $iteration) USING (pair_id)
WHERE v.iteration <= $iteration
ORDER BY pair_id, judge, replicate
