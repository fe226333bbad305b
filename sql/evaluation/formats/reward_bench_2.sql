SELECT subset || '/' || id AS item_id, NULL AS item_group, subset, prompt, asked(prompt) AS turns,
    chosen || rejected AS responses, [i < num_correct FOR i IN range(len(chosen) + len(rejected))] AS labels,
    NULL::BIGINT[][] AS against
FROM file
