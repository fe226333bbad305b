-- The pairs of the batches up to $upto under one view of their labels: original, filtered and corrected as in the snapshots
-- (also after stage 2); seed_and_<whose>: the filtered seed, and of the batches after it every pair as it came (original),
-- those that people confirmed (people), or judges who saw no example (unguided); unguided: what these judges confirmed of
-- all batches, the seed too, and unguided_corrected: also what they contradicted, swapped (spec 4.12, 8.05). None has a
-- pair of the gold test share's clusters, or one that nobody could decide.
-- $view VARCHAR, $upto VARCHAR
WITH batch AS (
    SELECT b.pair_id, b.iteration, v.verified_order, v.label_source, u.verdict
    FROM annotation_batch b
    LEFT JOIN verified v USING (pair_id, iteration)
    LEFT JOIN unguided_verdicts u USING (pair_id, iteration)
    WHERE b.iteration <= $upto AND b.cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
        AND b.pair_id NOT IN (SELECT pair_id FROM undecided)
), seen AS (
    SELECT pair_id, verified_order FROM snapshot_pairs WHERE snapshot = $view AND upto = $upto
    UNION ALL
    SELECT pair_id, 'original' FROM batch
    WHERE starts_with($view, 'seed_and_') AND CASE WHEN iteration = 'iter_00' THEN verified_order = 'original'
        ELSE $view = 'seed_and_original'
            OR ($view = 'seed_and_people' AND label_source = 'people' AND verified_order = 'original')
            OR ($view = 'seed_and_unguided' AND verdict = 'original')
        END
    UNION ALL
    SELECT pair_id, verdict FROM batch
    WHERE ($view = 'unguided' AND verdict = 'original')
        OR ($view = 'unguided_corrected' AND verdict IN ('original', 'swapped'))
)
SELECT pair_id, verified_order, 1.0::DOUBLE AS weight, 1.0::DOUBLE AS target FROM seen
