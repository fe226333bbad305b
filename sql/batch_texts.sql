-- The pairs of one iteration's batch at one desk ($desk: people or judges), in order of work.
SELECT pair_id, comparison_id, c.cluster_id, conversation, chosen, rejected,
    category, objectivity, controversiality, desired, guideline, b.priority
FROM annotation_batch b JOIN clean_pool c USING (pair_id) JOIN attributes USING (pair_id)
WHERE iteration = $iteration AND assigned_to = $desk
ORDER BY b.priority, pair_id
