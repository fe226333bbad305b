-- An id that stands twice.
-- TABLE items (item_id VARCHAR)
SELECT item_id FROM items GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1
