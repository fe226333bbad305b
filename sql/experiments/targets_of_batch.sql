-- The whole batch of an iteration as judges see it, whoever labelled it.
-- $iteration VARCHAR
SELECT * EXCLUDE (iteration, assigned_to, p) FROM batch_texts WHERE iteration = $iteration ORDER BY priority, pair_id
