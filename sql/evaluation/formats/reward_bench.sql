SELECT subset || '/' || id AS item_id, NULL AS item_group, subset, prompt, asked(prompt) AS turns,
    [chosen, rejected] AS responses, [true, false] AS labels, NULL::BIGINT[][] AS against
FROM file
