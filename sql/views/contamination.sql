-- Pairs that share n-grams with a benchmark, by source and benchmark (null: any): all of them, and those that would be
-- left if n-grams which the pool holds often did not count. A pair that shares some with two benchmarks counts for both.
CREATE OR REPLACE VIEW contamination AS
    SELECT d.source, h.benchmark, count(DISTINCT d.pair_id) AS any_match,
        count(DISTINCT d.pair_id) FILTER (NOT f.frequent) AS rare_match
    FROM benchmark_hits h
    JOIN deduped d ON h.conv_id = d.conv_id AND h.bucket = d.bucket AND coalesce(h.pair_id = d.pair_id, true)
    JOIN ngram_frequency f USING (span)
    GROUP BY GROUPING SETS ((d.source, h.benchmark), (d.source), (h.benchmark), ())
