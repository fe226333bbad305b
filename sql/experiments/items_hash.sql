-- A hash of the content of items, whatever the order of the rows.
-- TABLE items (item_id VARCHAR, candidate BIGINT, conversation VARCHAR[], response VARCHAR)
SELECT count(*), sum(md5_number_lower(row)::HUGEINT), sum(md5_number_upper(row)::HUGEINT)
FROM (SELECT to_json([item_id, candidate::VARCHAR, to_json(conversation)::VARCHAR, response])::VARCHAR AS row FROM items)
