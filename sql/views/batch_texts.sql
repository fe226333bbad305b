-- The pairs of every iteration's batch as people and judges see them.
CREATE OR REPLACE VIEW batch_texts AS
    SELECT b.iteration, b.assigned_to, b.p, pair_id, comparison_id, c.cluster_id, conversation, chosen, rejected,
        category, objectivity, controversiality, desired, guideline, b.priority
    FROM annotation_batch b JOIN clean_pool c USING (pair_id) JOIN attributes USING (pair_id)
