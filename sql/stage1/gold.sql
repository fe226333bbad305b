-- Majority of the people's verdicts on each pair of an iteration, mapped back to the original order; no majority, no
-- gold. The role belongs to the conversation cluster and stays with it (spec O-06). New clusters are dealt in the order
-- of a hash, to within one cluster of each share, so that small runs go without no role. Test and calibration take
-- clusters that chance brought in, whose inclusion probability is known; where those are few, they stay small.
-- $iteration VARCHAR, $seed VARCHAR
-- $few_shot DOUBLE, $validation DOUBLE, $calibration DOUBLE, $test DOUBLE
WITH votes AS (
    SELECT pair_id, votes_for('original', verdict, shown_first) AS votes_original,
        votes_for('swapped', verdict, shown_first) AS votes_swapped,
        majority(votes_original, votes_swapped, count(*)) AS verified_order
    FROM (FROM human_labels WHERE iteration = $iteration QUALIFY heard(pair_id, role)) GROUP BY 1
), asked AS (
    SELECT pair_id, cluster_id, by_chance(why) AS by_chance
    FROM annotation_batch WHERE iteration = $iteration AND assigned_to = 'people'
), known AS (
    SELECT cluster_id, min(role) AS role FROM gold WHERE iteration < $iteration GROUP BY 1
), fresh AS (
    SELECT cluster_id, bool_or(by_chance) AS by_chance, draw(cluster_id, $seed) AS draw,
        draw($iteration, $seed) / 18446744073709551616.0 AS start
    FROM asked ANTI JOIN known USING (cluster_id) GROUP BY 1
), counted AS (
    SELECT *, row_number() OVER (ORDER BY NOT by_chance, draw) - start AS place,
        least(count(*) OVER (), count(*) FILTER (by_chance) OVER () / greatest($test + $calibration, 1e-9)) AS n
    FROM fresh
), held AS (
    SELECT *, CASE WHEN place <= $test * n THEN 'test' WHEN place <= ($test + $calibration) * n THEN 'calibration' END
        AS held_role
    FROM counted
), rest AS (
    SELECT cluster_id, held_role, row_number() OVER same - start AS place,
        count(*) OVER (PARTITION BY held_role) / (1 - $test - $calibration) AS n
    FROM held WINDOW same AS (PARTITION BY held_role ORDER BY draw)
), dealt AS (
    SELECT cluster_id, CASE
        WHEN held_role IS NOT NULL THEN held_role
        WHEN place <= $validation * n THEN 'validation'
        WHEN place <= ($validation + $few_shot) * n THEN 'few_shot'
        ELSE 'train' END AS role
    FROM rest UNION ALL SELECT cluster_id, role FROM known
)
SELECT pair_id, cluster_id, verified_order, role, votes_original, votes_swapped
FROM votes JOIN asked USING (pair_id) JOIN dealt USING (cluster_id)
WHERE verified_order IS NOT NULL
