-- What is known of the truth of every clean pair: was its original label right? NULL where nobody can tell.
-- `chosen_ids`: the text's hash of the response the original label prefers. References from people judge only what the
-- run never asked people about; otherwise the run would be measured by its own input.
-- TABLE chosen_ids (pair_id VARCHAR, chosen_id VARCHAR)
SELECT p.pair_id, p.source, p.stage, p.label_origin, r.topic, r.origin AS against,
    CASE WHEN r.winner <> '' THEN r.winner = h.chosen_id END AS original_right
FROM clean_pool p
JOIN reference_labels r USING (comparison_id)
JOIN chosen_ids h USING (pair_id)
WHERE r.origin = 'planted'
    OR p.comparison_id NOT IN (
        SELECT c.comparison_id FROM clean_pool c
        WHERE pair_id IN (SELECT pair_id FROM human_labels UNION ALL SELECT pair_id FROM audit)
    )
