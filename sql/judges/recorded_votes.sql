-- Recorded answers as votes. `answers`: pair_id, vote (original, swapped, tie), shown_first, annotator; `targets`:
-- pair_id. Answers to one pair are numbered in an order that depends on their content alone.
-- $judge VARCHAR, $model VARCHAR
-- TABLE targets (pair_id VARCHAR)
-- TABLE answers (pair_id VARCHAR, vote VARCHAR, shown_first VARCHAR, annotator VARCHAR)
SELECT
    t.pair_id,
    $judge AS judge,
    $model AS model,
    row_number() OVER (PARTITION BY t.pair_id ORDER BY a.annotator, a.shown_first, a.vote) - 1 AS replicate,
    coalesce(a.shown_first, 'chosen') AS shown_first,
    '' AS wording,
    '' AS effort,
    CASE
        WHEN a.vote IS NULL THEN ''
        WHEN a.vote = 'tie' THEN 'tie'
        WHEN (a.vote = 'original') = (a.shown_first = 'chosen') THEN 'candidate_1'
        ELSE 'candidate_2'
    END AS answer,
    coalesce(a.vote, 'none') AS vote,
    CASE WHEN a.vote IS NULL THEN 'not_recorded' ELSE 'ok' END AS status,
    []::VARCHAR[] AS examples,
    []::VARCHAR[] AS example_places,
    'recorded' AS prompt_version,
    '' AS request_key,
    0::BIGINT AS cost_micros,
    false AS simulated
FROM targets t
LEFT JOIN answers a USING (pair_id)
ORDER BY pair_id, replicate
