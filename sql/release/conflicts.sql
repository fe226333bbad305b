-- Contradictions on near-identical prompts (spec 3.17), by snapshot and stratum: pairs that say the opposite of another
-- pair about the same two answers, and circles of three answers. Answers are the same whatever their case and spaces.
WITH labels AS (
    SELECT s.snapshot, s.pair_id, p.cluster_id,
        md5(lower(regexp_replace(trim(better_of(s.verified_order, p.chosen, p.rejected)), '\s+', ' ', 'g'))) AS a,
        md5(lower(regexp_replace(trim(worse_of(s.verified_order, p.chosen, p.rejected)), '\s+', ' ', 'g'))) AS b,
        CASE WHEN t.objectivity IS NULL THEN '' WHEN low_risk(t.objectivity, t.controversiality) THEN 'low' ELSE 'risky' END
            AS stratum
    FROM snapshot_pairs s JOIN clean_pool p USING (pair_id) LEFT JOIN pair_attributes t USING (pair_id)
    WHERE s.upto = 'stage2'
), edges AS (
    SELECT DISTINCT snapshot, cluster_id, a, b FROM labels WHERE a <> b
), shared AS (
    SELECT snapshot, cluster_id FROM edges GROUP BY ALL HAVING count(*) > 1
), opposite AS (
    SELECT x.* FROM edges x JOIN edges y ON x.snapshot = y.snapshot AND x.cluster_id = y.cluster_id AND x.a = y.b AND x.b = y.a
), circles AS (
    -- each once: it begins at its smallest answer
    SELECT x.snapshot, x.cluster_id, x.a, x.b, y.b AS c
    FROM (FROM edges SEMI JOIN shared USING (snapshot, cluster_id)) x
    JOIN edges y ON x.snapshot = y.snapshot AND x.cluster_id = y.cluster_id AND x.b = y.a AND y.b <> x.a
    JOIN edges z ON y.snapshot = z.snapshot AND y.cluster_id = z.cluster_id AND y.b = z.a AND z.b = x.a
    WHERE x.a < x.b AND x.a < y.b
), sides AS (
    SELECT snapshot, cluster_id, a, b, md5(a || b || c) AS circle FROM circles
    UNION ALL SELECT snapshot, cluster_id, b, c, md5(a || b || c) FROM circles
    UNION ALL SELECT snapshot, cluster_id, c, a, md5(a || b || c) FROM circles
), marked AS (
    SELECT l.snapshot, l.pair_id, l.stratum, max(o.a IS NOT NULL) AS is_opposite, list(DISTINCT s.cluster_id || s.circle)
        FILTER (s.circle IS NOT NULL) AS circles
    FROM labels l
    LEFT JOIN opposite o ON o.snapshot = l.snapshot AND o.cluster_id = l.cluster_id AND o.a = l.a AND o.b = l.b
    LEFT JOIN sides s ON s.snapshot = l.snapshot AND s.cluster_id = l.cluster_id AND s.a = l.a AND s.b = l.b
    GROUP BY ALL
), both_ways AS (
    FROM marked UNION ALL SELECT * REPLACE ('all' AS stratum) FROM marked
)
SELECT snapshot, stratum, count(*) AS pairs, count(*) FILTER (is_opposite) AS opposite, count(circles) AS in_circles,
    coalesce(len(list_distinct(flatten(list(circles) FILTER (circles IS NOT NULL)))), 0) AS circles
FROM both_ways GROUP BY ALL ORDER BY ALL
