-- Pairs and mean score, in percent, of the arms of an experiment that are parts of one set.
-- $experiment VARCHAR
SELECT arm, pairs, 100 * avg(value) AS score
FROM experiment_sets JOIN experiment_results USING (experiment, arm)
WHERE experiment = $experiment GROUP BY ALL ORDER BY pairs, arm
