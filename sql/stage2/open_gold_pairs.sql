-- The final gold that the loop may look at, in the human order.
SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
    worse_of(verified_order, chosen, rejected) AS rejected, 1.0::DOUBLE AS weight
FROM gold JOIN clean_pool USING (pair_id)
WHERE is_open(role)
