-- Scores over whole benchmarks.
SELECT arm, benchmark, metric, value, low, high, n FROM benchmark_results WHERE subset = '' ORDER BY 2, 1
