-- The arms of an experiment that have models: their sets' sizes and their recipes.
-- $experiment VARCHAR
SELECT training_set, s.arm, s.pairs, any_value(m.recipe_hash) AS recipe_hash
FROM experiment_sets s JOIN experiment_models m USING (training_set)
WHERE s.experiment = $experiment
GROUP BY ALL ORDER BY ALL
