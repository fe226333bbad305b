-- A text is trimmed only where it begins with a space: to trim them all costs more than to read them.
SELECT pair_id FROM new
WHERE chosen = rejected OR chosen = '' OR (starts_with(chosen, ' ') AND trim(chosen) = '')
