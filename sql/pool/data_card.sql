-- The counts of the data card, as (figure, source, item, n, out_of): source '' stands for the whole pool, `out_of` for what n is
-- a part of. Everything after the ends and refusals is over the clean pool. Percentiles and size classes come from the
-- count of each length, so that memory does not grow with the pool. Without $personal a former scan is left out.
-- $personal BOOLEAN
WITH ends AS (
    SELECT source, 'unreadable' AS item, count(*) AS n FROM quarantine GROUP BY source
    UNION ALL SELECT source, 'unusable', count(*) FROM unusable GROUP BY source
    UNION ALL SELECT source, 'duplicate', count(*) FROM duplicates GROUP BY source
    UNION ALL SELECT source, 'contaminated', count(*) FROM contaminated GROUP BY source
    UNION ALL SELECT source, 'clean', count(*) FROM clean_pool GROUP BY source
), refused AS (
    SELECT source, reason AS item, count(*) AS n FROM unusable GROUP BY ALL
    UNION ALL SELECT source, reason, count(*) FROM quarantine GROUP BY ALL
), lengths AS (
    SELECT source, list_sum([length(t.content) FOR t IN conversation])::BIGINT AS conversation,
        length(chosen) AS chosen, length(rejected) AS rejected, len(conversation) AS turns
    FROM clean_pool
), texts AS (
    SELECT source, what, chars, count(*) AS n
    FROM (UNPIVOT lengths ON conversation, chosen, rejected INTO NAME what VALUE chars) GROUP BY ALL
), pairs AS (
    SELECT p.source, s.label_origin, s.license, s.redistribution, s.stage, p.n
    FROM (SELECT source, count(*) AS n FROM clean_pool GROUP BY source) p JOIN sources s USING (source)
), counted AS (
    SELECT 'end' AS figure, source, item, n, sum(n) OVER (PARTITION BY source) AS out_of FROM ends
    UNION ALL
    SELECT 'refused', source, item, n, sum(n) OVER (PARTITION BY source) FROM refused
    UNION ALL
    SELECT 'equal to a pair of', source, kept_source, count(*), sum(count(*)) OVER (PARTITION BY source)
    FROM duplicates GROUP BY source, kept_source
    UNION ALL
    SELECT figure, source, item, sum(n), sum(sum(n)) OVER (PARTITION BY figure, source)
    FROM content_sample GROUP BY figure, source, item
    UNION ALL
    SELECT 'label by', source, label_origin, n, n FROM pairs
    UNION ALL
    SELECT 'license', source, license || CASE WHEN redistribution THEN '' ELSE ' (not for redistribution)' END, n, n FROM pairs
    UNION ALL
    SELECT 'enters at', source, stage, n, n FROM pairs
    UNION ALL
    SELECT 'longer response', source, CASE WHEN chosen > rejected THEN 'chosen' WHEN chosen < rejected THEN 'rejected'
        ELSE 'neither' END, count(*), any_value(p.n)
    FROM lengths JOIN pairs p USING (source) GROUP BY ALL
    UNION ALL
    SELECT 'turns', source, CASE WHEN turns > 9 THEN 'more' ELSE turns::VARCHAR END, count(*), any_value(p.n)
    FROM lengths JOIN pairs p USING (source) GROUP BY ALL
    UNION ALL
    SELECT 'characters of the ' || what, source, (1 << least(20, greatest(4, 1 + floor(log2(greatest(chars, 1)))::INT)))::VARCHAR,
        sum(t.n), any_value(p.n)
    FROM texts t JOIN pairs p USING (source) GROUP BY ALL
), by_length AS (
    SELECT *, sum(n) OVER (PARTITION BY source, what ORDER BY chars) AS up_to, sum(n) OVER (PARTITION BY source, what) AS out_of
    FROM (SELECT source, what, chars, n FROM texts
          UNION ALL SELECT '', what, chars, sum(n) FROM texts GROUP BY what, chars)
), near AS (
    SELECT cluster_id, count(DISTINCT conv_id) AS n FROM clean_pool GROUP BY cluster_id
), hit AS (
    SELECT DISTINCT d.source, d.pair_id, h.benchmark FROM benchmark_hits h JOIN deduped d USING (bucket, conv_id)
    WHERE h.pair_id IS NULL OR h.pair_id = d.pair_id
), found AS (
    SELECT figure, source, item, n, out_of FROM counted
    UNION ALL
    SELECT figure, '', item, sum(n), sum(sum(n)) OVER (PARTITION BY figure) FROM counted GROUP BY figure, item
    UNION ALL
    SELECT 'contaminated by', source, benchmark, count(*), any_value(d.n)
    FROM hit JOIN (SELECT source, count(*) AS n FROM deduped GROUP BY source) d USING (source) GROUP BY ALL
    UNION ALL
    SELECT 'contaminated by', '', benchmark, count(*), (SELECT count(*) FROM deduped) FROM hit GROUP BY benchmark
    UNION ALL
    SELECT 'contradicting', source, 'pairs', count(*), NULL FROM clean_pool WHERE conflict GROUP BY source
    UNION ALL
    SELECT 'contradicting', '', 'pairs', count(*), NULL FROM clean_pool WHERE conflict
    UNION ALL
    SELECT 'personal data', '', kind || ', sensitivity ' || sensitivity, count(DISTINCT pair_id), (SELECT count(*) FROM clean_pool)
    FROM personal_data SEMI JOIN clean_pool USING (bucket, pair_id) WHERE $personal GROUP BY kind, sensitivity
    UNION ALL
    SELECT 'percentile of the ' || what, source, p::VARCHAR, min(chars), any_value(out_of)
    FROM by_length, (SELECT unnest([0, 5, 25, 50, 75, 95, 99, 100]) AS p) WHERE up_to * 100 >= p * out_of GROUP BY ALL
    UNION ALL
    SELECT 'conversations', '', unnest(['distinct', 'near-duplicate clusters', 'in a cluster with others', 'largest cluster']),
        unnest([sum(n), count(*), sum(CASE WHEN n > 1 THEN n ELSE 0 END), max(n)]), sum(n)
    FROM near
)
SELECT figure, source, item, n::BIGINT AS n, out_of::BIGINT AS out_of FROM found WHERE n IS NOT NULL
