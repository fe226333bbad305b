-- One row a response of at most $n items, drawn by hash; null takes all.
-- $salt VARCHAR, $n BIGINT
-- TABLE placed (item_id VARCHAR, item_group VARCHAR, subset VARCHAR, unit VARCHAR, turns VARCHAR[], responses VARCHAR[], labels BOOLEAN[], against BIGINT[][])
WITH drawn AS (
    SELECT * FROM placed ORDER BY md5($salt || item_id), item_id LIMIT $n
)
SELECT item_id, candidate::BIGINT AS candidate, unit, item_group, subset, labels[candidate + 1] AS label,
    against[candidate + 1] AS against, turns AS conversation, responses[candidate + 1] AS response
FROM (SELECT *, unnest(range(len(responses))) AS candidate FROM drawn)
ORDER BY item_id, candidate
