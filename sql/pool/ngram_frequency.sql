-- How often the pool holds each benchmark n-gram, over all buckets at once; more than $most conversations are frequent.
-- $most BIGINT
WITH pairs AS (
    SELECT DISTINCT h.span, d.pair_id FROM benchmark_hits h JOIN deduped d USING (bucket, conv_id)
    WHERE h.pair_id IS NULL OR h.pair_id = d.pair_id
), held AS (
    SELECT span, count(*) AS pairs FROM pairs GROUP BY span
)
SELECT span, any_value(rule) AS rule, list_sort(list(DISTINCT benchmark)) AS benchmarks,
    count(DISTINCT conv_id) AS conversations, any_value(pairs) AS pairs, count(DISTINCT conv_id) > $most AS frequent
FROM benchmark_hits JOIN held USING (span)
GROUP BY span
