-- What the training sets of an experiment look like.
-- $experiment VARCHAR
SELECT arm, statistic, item, value FROM experiment_profiles WHERE experiment = $experiment ORDER BY ALL
