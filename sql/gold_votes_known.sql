-- What is known of the pairs that the panel was measured on: `known` (pair_id, order by people, strata, lengths) and
-- `people` (pair_id, annotator, vote).
CREATE TEMP TABLE known AS
SELECT pair_id, "order", [objectivity, controversiality || ' controversiality', category] AS strata,
    length(chosen) AS chosen_chars, length(rejected) AS rejected_chars
FROM gold JOIN clean_pool USING (pair_id) JOIN attributes USING (pair_id)
WHERE pair_id IN (SELECT pair_id FROM gold_votes);
CREATE TEMP TABLE people AS
SELECT pair_id, annotator, CASE WHEN (verdict = 'first') = (shown_first = 'chosen') THEN 'original' ELSE 'swapped' END AS vote
FROM human_labels WHERE verdict <> 'undecided' AND pair_id IN (SELECT pair_id FROM known)
ORDER BY ALL;
