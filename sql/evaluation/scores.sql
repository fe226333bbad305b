-- The rewards given to every candidate that shows the response.
-- TABLE known AS evaluation/responses
-- TABLE rewards (item_id VARCHAR, reward DOUBLE, unscored VARCHAR, truncated BOOLEAN)
SELECT benchmark, of_item AS item_id, candidate, reward, unscored, truncated FROM known JOIN rewards USING (item_id)
