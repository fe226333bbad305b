SELECT pair_id FROM new
WHERE pair_id IN (SELECT pair_id FROM verified UNION ALL SELECT pair_id FROM undecided)
