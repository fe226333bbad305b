SELECT pair_id FROM new WHERE pair_id NOT IN (SELECT pair_id FROM audit_sample)
