-- How much of what the generated pool hides was found (recall), and how much of what was found had been hidden
-- (precision). Of equal records it does not matter which one was kept, so duplicates are counted a pair; contradictions
-- are counted a comparison; what cannot be read or used a record.
WITH planted_copies AS (
    SELECT pair_id, count(*) AS planted FROM planted_rows JOIN raw_pool USING (source, row) WHERE kind = 'duplicate'
    GROUP BY pair_id
), removed_copies AS (
    SELECT pair_id, count(*) AS removed FROM duplicates GROUP BY pair_id
), copies AS (
    SELECT coalesce(planted, 0) AS planted, coalesce(removed, 0) AS removed
    FROM planted_copies FULL JOIN removed_copies USING (pair_id)
), contamination AS (
    SELECT p.pair_id IS NOT NULL AS planted, c.pair_id IS NOT NULL AS found
    FROM (SELECT DISTINCT pair_id FROM planted_rows JOIN raw_pool USING (source, row) WHERE kind = 'contaminated') p
    FULL JOIN contaminated c USING (pair_id)
), contradictions AS (
    SELECT p.comparison_id IS NOT NULL AS planted, c.comparison_id IS NOT NULL AS found
    FROM (SELECT DISTINCT comparison_id FROM planted_rows JOIN raw_pool USING (source, row) WHERE kind = 'mirror') p
    FULL JOIN (SELECT DISTINCT comparison_id FROM deduped WHERE conflict) c USING (comparison_id)
), set_aside AS (
    SELECT DISTINCT source, row FROM unusable UNION SELECT DISTINCT source, row FROM quarantine WHERE row > 0
), defects AS (
    SELECT p.kind, s.row IS NOT NULL AS found
    FROM (SELECT * FROM planted_rows WHERE kind IN ('null', 'identical', 'tie', 'broken')) p
    FULL JOIN set_aside s ON s.source = p.source AND s.row = p.row
), found AS (
    SELECT 'duplicate' AS kind, coalesce(sum(least(planted, removed)), 0) AS hit,
        coalesce(sum(planted), 0) AS planted, coalesce(sum(removed), 0) AS found
    FROM copies
    UNION ALL
    SELECT 'contamination', count(*) FILTER (planted AND found), count(*) FILTER (planted), count(*) FILTER (found)
    FROM contamination
    UNION ALL
    SELECT 'contradiction', count(*) FILTER (planted AND found), count(*) FILTER (planted), count(*) FILTER (found)
    FROM contradictions
    UNION ALL
    SELECT 'unusable or broken', count(*) FILTER (kind IS NOT NULL AND found), count(*) FILTER (kind IS NOT NULL),
        count(*) FILTER (found)
    FROM defects
    UNION ALL
    SELECT kind, count(*) FILTER (found), count(*), NULL FROM defects WHERE kind IS NOT NULL GROUP BY kind
)
SELECT 'planted_recall' AS figure, kind AS figure_group, hit::DOUBLE AS hits, planted::BIGINT AS n, 'planted' AS against
FROM found WHERE (SELECT count(*) FROM planted_rows) > 0
UNION ALL
SELECT 'planted_precision', kind, hit, found, 'planted'
FROM found WHERE (SELECT count(*) FROM planted_rows) > 0 AND found IS NOT NULL
