SELECT pair_id FROM new
WHERE NOT (inclusion > 0 AND inclusion <= 1) OR (why = 'retrieved' AND inclusion < 1)
