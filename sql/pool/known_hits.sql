-- What an earlier search of a bucket found for some benchmarks.
-- $bucket VARCHAR, $names VARCHAR[]
SELECT * EXCLUDE (bucket) FROM benchmark_hits WHERE bucket = $bucket AND benchmark IN $names
