-- What the data was after each iteration of stage 1, cumulative, and after stage 2: `original` as it came, less the pairs
-- that nobody could decide (spec 2.08); `filtered` where the label was confirmed; `corrected` with the contradicted pairs, swapped (spec 3.15, 5.03).
-- The clusters of test gold are in none.
CREATE OR REPLACE VIEW snapshot_pairs AS
    WITH labelled AS (
        SELECT b.pair_id, b.iteration, v.verified_order
        FROM annotation_batch b LEFT JOIN verified v USING (pair_id, iteration)
        WHERE b.cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
            AND b.pair_id NOT IN (SELECT pair_id FROM undecided)
    ), steps AS (SELECT DISTINCT iteration AS upto FROM annotation_batch),
    sofar AS (SELECT upto, pair_id, verified_order FROM steps JOIN labelled ON iteration <= upto)
    SELECT DISTINCT upto, 'original' AS snapshot, pair_id, 'original' AS verified_order FROM sofar
    UNION ALL SELECT upto, 'filtered', pair_id, verified_order FROM sofar WHERE verified_order = 'original'
    UNION ALL SELECT upto, 'corrected', pair_id, verified_order FROM sofar WHERE verified_order IS NOT NULL
    UNION ALL SELECT 'stage2', 'original', pair_id, 'original' FROM clean_pool
        WHERE cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
            AND pair_id NOT IN (SELECT pair_id FROM undecided)
    UNION ALL SELECT 'stage2', 'filtered', pair_id, 'original' FROM release_curated
    UNION ALL SELECT 'stage2', 'corrected', pair_id, CASE WHEN flipped THEN 'swapped' ELSE 'original' END
        FROM release_corrected
