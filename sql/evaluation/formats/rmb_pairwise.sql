SELECT pair_uid AS item_id, split_part(category_path, '/', 2) AS item_group,
    array_to_string(split(category_path, '/')[3:], '/') AS subset, conversation_input[1].content AS prompt,
    [{'role': m.role, 'content': m.content} FOR m IN conversation_input] AS turns,
    [chosen.answer, reject.answer] AS responses, [true, false] AS labels, NULL::BIGINT[][] AS against
FROM file
