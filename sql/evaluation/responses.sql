-- Every response of every benchmark with an id by content: what is shown several times is scored once.
-- TABLE candidates (benchmark VARCHAR, item_id VARCHAR, candidate BIGINT, conversation VARCHAR[], response VARCHAR)
SELECT benchmark, item_id AS of_item, candidate, conversation, response,
    md5(to_json([to_json(conversation), to_json(response)])) AS item_id
FROM candidates
