-- An item that has not one label a response.
-- TABLE items (item_id VARCHAR, responses VARCHAR[], labels BOOLEAN[])
SELECT item_id, len(responses), len(labels) FROM items WHERE len(labels) <> len(responses) ORDER BY 1 LIMIT 1
