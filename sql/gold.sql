-- Majority of the people's verdicts on each pair of an iteration, mapped back to the original order; no majority, no
-- gold. The role follows the conversation cluster, so near-duplicates never play two roles (spec O-06).
WITH votes AS (
    SELECT pair_id,
        count(*) FILTER ((verdict = 'first') = (shown_first = 'chosen') AND verdict <> 'undecided') AS votes_original,
        count(*) FILTER ((verdict = 'first') <> (shown_first = 'chosen') AND verdict <> 'undecided') AS votes_swapped,
        count(*) AS votes
    FROM human_labels WHERE iteration = $iteration GROUP BY 1
), share AS (
    SELECT pair_id, cluster_id, md5_number_lower(cluster_id || $seed) % 100 AS draw
    FROM annotation_batch WHERE iteration = $iteration
)
SELECT pair_id, cluster_id,
    CASE WHEN votes_original > votes_swapped THEN 'original' ELSE 'swapped' END AS "order",
    CASE WHEN draw < 10 THEN 'test' WHEN draw < 20 THEN 'calibration' WHEN draw < 40 THEN 'validation' ELSE 'train' END
        AS role,
    votes_original, votes_swapped
FROM votes JOIN share USING (pair_id)
WHERE greatest(votes_original, votes_swapped) * 2 > votes
