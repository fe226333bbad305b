-- How scores differ between the seeds of an arm.
SELECT arm, benchmark, metric, seeds, mean, sd, lowest, highest FROM benchmark_spread
WHERE subset = '' AND seeds > 1
ORDER BY 2, 1
