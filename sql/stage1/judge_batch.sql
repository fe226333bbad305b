-- What the judges label in an iteration, in order of work; k is how many examples each pair may ask for.
-- $iteration VARCHAR, $k_max BIGINT
SELECT * EXCLUDE (iteration, assigned_to, p), k_for(p, $k_max) AS k FROM batch_texts
WHERE iteration = $iteration AND assigned_to = 'judges'
ORDER BY priority, pair_id
