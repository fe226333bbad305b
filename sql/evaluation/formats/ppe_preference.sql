SELECT question_id AS item_id, '' AS item_group, 'preference' AS subset, prompt, asked(prompt) AS turns,
    [response_1, response_2] AS responses, [winner = 'model_a', winner = 'model_b'] AS labels, NULL::BIGINT[][] AS against
FROM file WHERE winner IS NULL OR winner IN ('model_a', 'model_b')
