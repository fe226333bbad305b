-- Findings of personal data for a second look, drawn by hash: $n of sensitivity 2 and 3, $n of 0 and 1, $sample of each
-- sensitivity for people; with the text that each stands in.
-- $n BIGINT, $sample BIGINT, $seed VARCHAR
WITH ranked AS (
    SELECT f.*, row_number() OVER (PARTITION BY sensitivity >= 2 ORDER BY draw(pair_id || place || start, $seed)) <= $n AS for_judge,
        row_number() OVER (PARTITION BY sensitivity ORDER BY draw(pair_id || place || start, 'people' || $seed)) <= $sample
            AS for_people
    FROM personal_data f
)
SELECT r.pair_id, r.place, r.start, r.stop, r.kind, r.sensitivity, r.for_judge, r.for_people,
    CASE r.place WHEN 'chosen' THEN p.chosen WHEN 'rejected' THEN p.rejected
        ELSE p.conversation[1 + replace(r.place, 'turn ', '')::BIGINT].content END AS text
FROM ranked r JOIN clean_pool p USING (pair_id)
WHERE r.for_judge OR r.for_people
ORDER BY r.pair_id, r.place, r.start
