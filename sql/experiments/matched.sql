-- Of the pairs `wide`, as many as `aim` has of each source, topic and length, drawn by hash; where there are too few of
-- one kind, what is lacking is taken from the same source and topic, then from the same source (spec 8.09).
-- $seed VARCHAR
-- TABLE wide (pair_id VARCHAR, verified_order VARCHAR, weight DOUBLE, target DOUBLE, source VARCHAR, topic VARCHAR, length_bin VARCHAR)
-- TABLE aim (pair_id VARCHAR, verified_order VARCHAR, weight DOUBLE, target DOUBLE, source VARCHAR, topic VARCHAR, length_bin VARCHAR)
WITH kinds AS (SELECT source, topic, length_bin, count(*) AS n FROM aim GROUP BY ALL),
ranked AS (
    SELECT pair_id, verified_order, weight, target, source, topic, length_bin, draw(pair_id, 'matched ' || $seed) AS lot,
        row_number() OVER (PARTITION BY source, topic, length_bin ORDER BY draw(pair_id, 'matched ' || $seed)) AS place
    FROM wide
), exact AS (
    SELECT r.* FROM ranked r JOIN kinds k USING (source, topic, length_bin) WHERE place <= n
), left_over AS (SELECT * FROM ranked ANTI JOIN exact USING (pair_id)),
short_topics AS (
    SELECT source, topic, count(*) - (SELECT count(*) FROM exact e WHERE e.source = a.source AND e.topic = a.topic) AS n
    FROM aim a GROUP BY source, topic
), by_topic AS (
    SELECT * EXCLUDE (rank_in, n) FROM (
        SELECT l.*, n, row_number() OVER (PARTITION BY source, topic ORDER BY lot) AS rank_in
        FROM left_over l JOIN short_topics USING (source, topic)
    ) WHERE rank_in <= n
), so_far AS (SELECT * FROM exact UNION ALL SELECT * FROM by_topic),
short_sources AS (
    SELECT source, count(*) - (SELECT count(*) FROM so_far e WHERE e.source = a.source) AS n FROM aim a GROUP BY source
), by_source AS (
    SELECT * EXCLUDE (rank_in, n) FROM (
        SELECT l.*, n, row_number() OVER (PARTITION BY source ORDER BY lot) AS rank_in
        FROM left_over l ANTI JOIN by_topic USING (pair_id) JOIN short_sources USING (source)
    ) WHERE rank_in <= n
)
SELECT pair_id, verified_order, weight, target FROM so_far
UNION ALL SELECT pair_id, verified_order, weight, target FROM by_source
