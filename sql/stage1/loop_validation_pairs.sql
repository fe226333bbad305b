-- Gold that chooses the loop model's checkpoint, up to $iteration, in the human order: all that the loop may look at, or,
-- where the model learns from people's pairs, that of role validation.
-- $iteration VARCHAR
SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
    worse_of(verified_order, chosen, rejected) AS rejected, 1.0::DOUBLE AS weight
FROM gold g JOIN clean_pool USING (pair_id)
WHERE is_open(role) AND g.iteration <= $iteration AND (role = 'validation'
    OR EXISTS (FROM annotation_batch b WHERE b.assigned_to = 'judges' AND b.iteration <= $iteration))
