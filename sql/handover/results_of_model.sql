-- Results of one final model on whole benchmarks: (benchmark, metric, value, items); one metric a benchmark.
-- $name VARCHAR
SELECT benchmark, metric, value, n FROM benchmark_results
WHERE arm = $name AND subset = '' AND value IS NOT NULL AND NOT ends_with(metric, '_at_hand')
QUALIFY row_number() OVER (PARTITION BY benchmark ORDER BY metric) = 1
ORDER BY benchmark
