-- What the $previous iteration selected, and who labels it. A cluster that one desk has seen stays at that desk. People
-- get what their last batch left unanswered, whatever else was drawn at random, so that what they say of it speaks for all
-- candidates, and then by priority (objective and of low controversiality first, spec 2.07) until they have $people pairs.
-- Where everything is drawn at random ($policy), priority decides nothing.
-- $iteration VARCHAR, $previous VARCHAR, $seed VARCHAR, $people BIGINT, $policy VARCHAR
WITH seen AS (
    SELECT cluster_id, any_value(assigned_to) AS desk FROM annotation_batch WHERE iteration < $iteration GROUP BY 1
), again AS (
    SELECT pair_id, cluster_id, assigned_to, why, priority, inclusion, p
    FROM annotation_batch JOIN unanswered USING (pair_id, iteration) WHERE iteration = $previous
), batch AS (
    SELECT pair_id, cluster_id, why, inclusion, p, desk, draw(pair_id, $seed) AS draw,
        CASE WHEN low_risk(objectivity, controversiality) THEN 0 ELSE 1 END AS priority
    FROM selection JOIN clean_pool USING (pair_id) JOIN attributes USING (pair_id) LEFT JOIN seen USING (cluster_id)
    WHERE iteration = $previous
), clusters AS (
    SELECT cluster_id, count(*) AS pairs, min(draw) AS draw,
        CASE WHEN $policy = 'random' THEN 0 ELSE min(priority) END AS priority,
        CASE WHEN any_value(desk) IS NOT NULL THEN any_value(desk)
            WHEN bool_or(why = 'random') AND $policy <> 'random' THEN 'people' END AS desk
    FROM batch GROUP BY 1
), places AS (
    SELECT $people::BIGINT - (SELECT count(*) FROM again)
        - (SELECT coalesce(sum(pairs), 0) FROM clusters WHERE desk = 'people') AS free
), desks AS (
    SELECT cluster_id, CASE
        WHEN desk IS NOT NULL THEN desk
        WHEN sum(CASE WHEN desk IS NULL THEN pairs ELSE 0 END) OVER (ORDER BY priority, draw) <= free THEN 'people'
        ELSE 'judges' END AS assigned_to
    FROM clusters, places
)
SELECT pair_id, cluster_id, assigned_to, why, priority, inclusion, p FROM batch JOIN desks USING (cluster_id)
UNION ALL
FROM again
