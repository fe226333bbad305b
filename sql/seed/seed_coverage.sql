-- The seed by stratum: what there is, what an even spread would take ($total shared out so that no stratum gets more
-- than it has and none that has more gets less than another), what was taken. `seed_now` holds the selection.
-- $seed VARCHAR, $total BIGINT
-- TABLE seed_now LIKE seed_selection
WITH pool AS (
    SELECT category, objectivity, controversiality, count(*) AS pool,
        count(*) FILTER (stage = 'seed' AND joined = 0 AND NOT conflict) AS pairs
    FROM clean_pool JOIN attributes USING (pair_id) GROUP BY ALL
), stocks AS (
    SELECT category, objectivity, controversiality, count(*) AS clusters
    FROM (
        SELECT * FROM clean_pool JOIN attributes USING (pair_id) WHERE stage = 'seed' AND joined = 0 AND NOT conflict
        QUALIFY row_number() OVER (PARTITION BY cluster_id ORDER BY draw(pair_id, $seed)) = 1
    ) GROUP BY ALL
), shares AS (
    SELECT *, ($total - coalesce(sum(clusters) OVER smaller, 0)) / count(*) OVER others::DOUBLE AS share
    FROM stocks
    WINDOW smaller AS (ORDER BY clusters, category, objectivity, controversiality
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
        others AS (ORDER BY clusters, category, objectivity, controversiality
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
), targets AS (
    SELECT category, objectivity, controversiality, clusters,
        least(clusters, coalesce((SELECT max(share) FROM shares WHERE share <= clusters), clusters))::DOUBLE AS target
    FROM shares
), taken AS (
    SELECT category, objectivity, controversiality, count(*) FILTER (assigned_to = 'people') AS people,
        count(*) FILTER (assigned_to = 'judges') AS judges
    FROM seed_now JOIN attributes USING (pair_id) GROUP BY ALL
)
SELECT category, objectivity, controversiality, pool, pairs, coalesce(clusters, 0) AS clusters,
    coalesce(target, 0) AS target, coalesce(people, 0) AS people, coalesce(judges, 0) AS judges
FROM pool
LEFT JOIN targets USING (category, objectivity, controversiality)
LEFT JOIN taken USING (category, objectivity, controversiality)
