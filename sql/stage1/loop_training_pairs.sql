-- What the loop's reward model trains on: all silver so far in its verified order. Where no pair has gone to the judges'
-- desk there is no silver: it then learns from people's pairs.
-- $iteration VARCHAR
WITH labels AS (
    SELECT pair_id, verified_order FROM silver WHERE iteration <= $iteration
    UNION ALL
    SELECT pair_id, verified_order FROM gold
    WHERE is_trained_on(role) AND iteration <= $iteration
        AND NOT EXISTS (FROM annotation_batch b WHERE b.assigned_to = 'judges' AND b.iteration <= $iteration)
)
SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
    worse_of(verified_order, chosen, rejected) AS rejected, 1.0::DOUBLE AS weight
FROM labels JOIN clean_pool USING (pair_id)
