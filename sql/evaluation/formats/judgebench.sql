SELECT pair_id AS item_id, NULL AS item_group, source AS subset, question AS prompt, asked(question) AS turns,
    [response_A, response_B] AS responses, [label = 'A>B', label = 'B>A'] AS labels, NULL::BIGINT[][] AS against
FROM file
