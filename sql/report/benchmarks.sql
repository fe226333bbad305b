-- All results of the models and of what needs none.
SELECT * EXCLUDE (model) FROM benchmark_results UNION ALL BY NAME SELECT * FROM benchmark_baselines
ORDER BY benchmark, metric, arm
