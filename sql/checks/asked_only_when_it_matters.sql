SELECT pair_id FROM new WHERE (j <> '') <> (pair_id IN (SELECT pair_id FROM routed))
