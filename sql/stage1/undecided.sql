-- Pairs of an iteration that people or judges looked at and could not decide.
-- $iteration VARCHAR
SELECT DISTINCT pair_id, 'people' AS desk, 'undecided' AS reason
FROM human_labels WHERE iteration = $iteration
    AND pair_id NOT IN (SELECT pair_id FROM gold WHERE iteration = $iteration)
UNION ALL
SELECT pair_id, 'judges', reason FROM verdicts
WHERE iteration = $iteration AND verdict = 'undecided' AND reason <> 'no_quorum'
