-- All silver so far in its verified order: what the loop's reward model trains on.
-- $iteration VARCHAR
SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
    worse_of(verified_order, chosen, rejected) AS rejected, 1.0::DOUBLE AS weight
FROM silver s JOIN clean_pool USING (pair_id)
WHERE s.iteration <= $iteration
