-- Of each pair drawn to be compared, the right response stands against the wrong one.
SELECT dataset || '/' || model_name || '/' || question_id AS item_id, dataset AS item_group, dataset AS subset,
    coalesce(question, problem, ifeval_prompt, prompt) AS prompt, asked(file.prompt) AS turns,
    [*COLUMNS('^response_\d+$')] AS responses, scores AS labels,
    [[CASE WHEN scores[p[1] + 1] THEN p[2] ELSE p[1] END FOR p IN sampled_conflict_pairs
        IF CASE WHEN scores[p[1] + 1] THEN p[1] ELSE p[2] END = i] FOR i IN range(32)] AS against
FROM (SELECT *, regexp_extract(path, '(MMLU-Pro|MATH|GPQA|IFEval|MBPP-Plus)') AS dataset FROM file) file
