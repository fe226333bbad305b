-- The objective pairs of people's batch, whose responses a judge looks at one by one (spec 2.06).
-- $iteration VARCHAR
SELECT pair_id, comparison_id, conversation, chosen, rejected, category, objectivity, controversiality, desired, guideline
FROM batch_texts
WHERE iteration = $iteration AND assigned_to = 'people' AND objectivity = 'objective'
ORDER BY pair_id
