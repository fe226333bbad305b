-- Scores over whole benchmarks, of the models by what they were trained on and of the baseline that needs none.
WITH scores AS (
    SELECT arm, benchmark, metric, value, low, high, n, subset FROM benchmark_results
    UNION ALL
    SELECT arm, benchmark, metric, value, low, high, n, subset FROM benchmark_baselines
)
SELECT benchmark || ' ' || metric AS name, arm, value, low, high, n
FROM scores
WHERE subset = '' AND value IS NOT NULL AND NOT regexp_matches(metric, '^(best_of|ceiling)_')
ORDER BY name, arm
