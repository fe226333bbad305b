-- Each different (conversation, response) once.
-- TABLE known AS evaluation/responses
SELECT item_id, any_value(conversation) AS conversation, any_value(response) AS response FROM known GROUP BY item_id
