-- The responses that original labels prefer, of the pairs that the reference knows.
SELECT pair_id, chosen FROM clean_pool WHERE comparison_id IN (SELECT comparison_id FROM reference_labels)
