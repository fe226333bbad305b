-- $n of one iteration's gold pairs with open roles, drawn by hash, as targets for the judges.
-- $iteration VARCHAR, $seed VARCHAR, $n BIGINT
SELECT pair_id, comparison_id, c.cluster_id, conversation, chosen, rejected,
    category, objectivity, controversiality, desired, guideline
FROM gold g JOIN clean_pool c USING (pair_id) JOIN attributes USING (pair_id)
WHERE g.iteration = $iteration AND is_open(role)
ORDER BY draw(pair_id, $seed) LIMIT $n
