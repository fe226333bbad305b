-- Pairs without a verdict of which at least one answer is missing, by the table of verdicts.
SELECT 'verdicts' AS verdicts, count(*) AS pairs FROM verdicts
WHERE reason = 'no_quorum' AND pair_id IN (SELECT pair_id FROM judge_votes WHERE is_missing(status))
UNION ALL
SELECT 'stage2_verdicts', count(*) FROM stage2_verdicts
WHERE reason = 'no_quorum' AND pair_id IN (SELECT pair_id FROM stage2_votes WHERE is_missing(status))
ORDER BY verdicts DESC
