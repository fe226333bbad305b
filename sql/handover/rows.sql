-- The released pairs of a range of ids with their texts, in the verified order, by id. With $whole, chosen and rejected
-- are whole conversations; without, the answers alone.
-- $low VARCHAR, $high VARCHAR, $flipped BOOLEAN, $whole BOOLEAN
-- TABLE chosen_pairs (pair_id VARCHAR, source VARCHAR, flipped BOOLEAN, label_source VARCHAR, rule VARCHAR, weight DOUBLE, p_right DOUBLE, risk VARCHAR)
WITH pairs AS (
    SELECT p.pair_id, p.conversation, c.* EXCLUDE (pair_id, source), c.source,
        [{'role': 'assistant', 'content': CASE WHEN c.flipped THEN p.rejected ELSE p.chosen END}] AS better,
        [{'role': 'assistant', 'content': CASE WHEN c.flipped THEN p.chosen ELSE p.rejected END}] AS worse
    FROM clean_pool p JOIN chosen_pairs c USING (pair_id)
    WHERE p.pair_id >= $low AND p.pair_id < $high AND c.flipped = $flipped
)
SELECT conversation AS prompt, CASE WHEN $whole THEN conversation || better ELSE better END AS chosen,
    CASE WHEN $whole THEN conversation || worse ELSE worse END AS rejected,
    pair_id, source, s.license, s.label_origin, label_source, rule, weight, flipped, p_right, risk
FROM pairs JOIN sources s USING (source) ORDER BY pair_id
