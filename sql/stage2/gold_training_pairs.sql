-- What the gold reward model learns from, in the human order: people's labels of these roles, with the part of gold that
-- each is in. Pairs of one conversation cluster are in one part.
-- $roles VARCHAR[], $folds BIGINT, $seed VARCHAR
SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
    worse_of(verified_order, chosen, rejected) AS rejected, 1.0::DOUBLE AS weight,
    dense_rank() OVER (ORDER BY draw(g.cluster_id, $seed), g.cluster_id) % greatest($folds, 1) AS fold
FROM gold g JOIN clean_pool USING (pair_id)
WHERE list_contains($roles, role)
