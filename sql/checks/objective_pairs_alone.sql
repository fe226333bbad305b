-- $partition VARCHAR
SELECT pair_id FROM new
WHERE pair_id NOT IN (SELECT pair_id FROM batch_texts
    WHERE iteration = $partition AND assigned_to = 'people' AND objectivity = 'objective')
