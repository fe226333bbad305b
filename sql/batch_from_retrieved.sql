-- What the $previous iteration retrieved, nearest first, and $random pairs drawn at random, $batch in all.
-- A cluster that one desk has seen stays at that desk; of the others, people take the first by priority (objective and
-- of low controversiality first, spec 2.07) until they have $people pairs.
WITH seen AS (
    SELECT pair_id, cluster_id, assigned_to FROM annotation_batch WHERE iteration < $iteration
), open AS (
    SELECT p.pair_id, p.cluster_id, md5_number_lower(p.pair_id || $seed) AS draw,
        CASE WHEN objectivity = 'objective' AND controversiality = 'low' THEN 0 ELSE 1 END AS priority
    FROM clean_pool p JOIN attributes USING (pair_id)
    WHERE stage IN ('seed', 'stage1') AND joined <= right($iteration, 2)::INT AND NOT conflict AND p.pair_id NOT IN (SELECT pair_id FROM seen)
), drawn AS (
    SELECT pair_id, 'random' AS why, $random::DOUBLE / (SELECT count(*) FROM open) AS inclusion
    FROM open ORDER BY draw LIMIT $random::BIGINT
), wanted AS (
    SELECT r.pair_id, 'retrieved' AS why, NULL::DOUBLE AS inclusion
    FROM retrieved r JOIN open USING (pair_id)
    WHERE r.iteration = $previous AND r.pair_id NOT IN (SELECT pair_id FROM drawn)
    ORDER BY similarity DESC, r.pair_id LIMIT greatest(0, $batch::BIGINT - (SELECT count(*) FROM drawn))
), batch AS (
    SELECT w.*, o.cluster_id, o.priority, o.draw, s.desk
    FROM (SELECT * FROM drawn UNION ALL SELECT * FROM wanted) w JOIN open o USING (pair_id)
    LEFT JOIN (SELECT cluster_id, any_value(assigned_to) AS desk FROM seen GROUP BY 1) s USING (cluster_id)
), clusters AS (
    SELECT cluster_id, any_value(desk) AS desk, count(*) AS pairs, min(priority) AS priority, min(draw) AS draw
    FROM batch GROUP BY 1
), desks AS (
    SELECT cluster_id, CASE
        WHEN desk IS NOT NULL THEN desk
        WHEN sum(CASE WHEN desk IS NULL THEN pairs ELSE 0 END) OVER (ORDER BY priority, draw)
            <= $people::BIGINT - (SELECT coalesce(sum(pairs), 0) FROM clusters WHERE desk = 'people') THEN 'people'
        ELSE 'judges' END AS assigned_to
    FROM clusters
)
SELECT pair_id, cluster_id, assigned_to, why, priority, inclusion FROM batch JOIN desks USING (cluster_id)
