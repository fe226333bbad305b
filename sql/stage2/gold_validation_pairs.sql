-- What the gold reward model's checkpoint is chosen on, in the human order.
SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
    worse_of(verified_order, chosen, rejected) AS rejected, 1.0::DOUBLE AS weight
FROM gold JOIN clean_pool USING (pair_id)
WHERE role = 'validation'
