-- Gold that the loop may look at, up to $iteration, in the human order.
-- $iteration VARCHAR
SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
    worse_of(verified_order, chosen, rejected) AS rejected, 1.0::DOUBLE AS weight
FROM gold g JOIN clean_pool USING (pair_id)
WHERE is_open(role) AND g.iteration <= $iteration
