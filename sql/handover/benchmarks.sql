-- What the pool was cleaned against: benchmarks, how many prompts each has, and a hash of them.
SELECT benchmark, count(*) AS prompts, md5(string_agg(md5(item_id || prompt), '' ORDER BY item_id, prompt)) AS fingerprint
FROM benchmark_prompts GROUP BY benchmark ORDER BY benchmark
