-- What people label in an iteration, in order of work, and what a judge found of each response alone.
-- $iteration VARCHAR
WITH checked AS (
    SELECT pair_id, any_value(answer) FILTER (side = 'chosen') AS checked_chosen,
        any_value(answer) FILTER (side = 'rejected') AS checked_rejected
    FROM response_checks WHERE iteration = $iteration AND answer IN ('correct', 'incorrect') GROUP BY 1
)
SELECT * EXCLUDE (iteration, assigned_to, p) FROM batch_texts LEFT JOIN checked USING (pair_id)
WHERE iteration = $iteration AND assigned_to = 'people'
ORDER BY priority, pair_id
