-- Pairs of the bucket that hold benchmark n-grams, with the first match of each: conversation before responses, then by
-- position. `pairs` is the bucket.
-- $bucket VARCHAR
-- TABLE pairs (pair_id VARCHAR, conv_id VARCHAR, source VARCHAR)
WITH hits AS (
    SELECT * FROM benchmark_hits WHERE bucket = $bucket
), matches AS (
    SELECT p.pair_id, p.source, h.* EXCLUDE (pair_id) FROM hits h JOIN pairs p ON h.conv_id = p.conv_id
    WHERE h.pair_id IS NULL
    UNION ALL
    SELECT p.pair_id, p.source, h.* EXCLUDE (pair_id) FROM hits h JOIN pairs p ON h.pair_id = p.pair_id
), firsts AS (
    SELECT pair_id, any_value(source) AS source, count(DISTINCT span) AS n_matches,
        min({'place': place, 'position': position, 'benchmark': benchmark, 'item_id': item_id, 'rule': rule,
            'span': span}) AS f
    FROM matches
    GROUP BY pair_id
)
SELECT pair_id, source, f.benchmark, f.item_id, f.rule, f.span, n_matches FROM firsts
