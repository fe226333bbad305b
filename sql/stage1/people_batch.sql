-- What people label in an iteration, in order of work.
-- $iteration VARCHAR
SELECT * EXCLUDE (iteration, assigned_to, p) FROM batch_texts
WHERE iteration = $iteration AND assigned_to = 'people'
ORDER BY priority, pair_id
