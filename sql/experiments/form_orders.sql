-- The filtered seed, and the pairs after it that people labelled on one form: those that their labels confirmed, or, with
-- $before, all of them as they came (spec 8.06).
-- $form VARCHAR, $before BOOLEAN
WITH batch AS (
    SELECT b.pair_id, b.iteration, v.verified_order, v.label_source
    FROM annotation_batch b LEFT JOIN verified v USING (pair_id, iteration)
    WHERE b.cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
), asked AS (SELECT DISTINCT pair_id, iteration FROM human_labels WHERE coalesce(arm, '') = $form)
SELECT pair_id, 'original' AS verified_order, 1.0::DOUBLE AS weight, 1.0::DOUBLE AS target FROM batch
WHERE iteration = 'iter_00' AND verified_order = 'original'
UNION ALL
SELECT pair_id, 'original', 1.0, 1.0 FROM batch SEMI JOIN asked USING (pair_id, iteration)
WHERE iteration > 'iter_00' AND ($before OR (label_source = 'people' AND verified_order = 'original'))
