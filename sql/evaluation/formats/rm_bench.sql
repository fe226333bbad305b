-- The files of one domain do not name it, their own name does.
SELECT kind || '/' || id AS item_id, NULL AS item_group, kind AS subset, prompt, asked(prompt) AS turns,
    chosen || rejected AS responses, [true FOR c IN chosen] || [false FOR r IN rejected] AS labels,
    NULL::BIGINT[][] AS against
FROM (
    SELECT *, coalesce(domain, replace(
        regexp_extract(path, '(chat|math|code|safety[-_]refuse|safety[-_]response)[^/]*$', 1), '_', '-'
    )) AS kind
    FROM file
)
