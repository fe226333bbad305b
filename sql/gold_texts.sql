-- $n of one iteration's gold pairs with open roles, drawn by hash, as targets for the judges.
SELECT pair_id, comparison_id, c.cluster_id, conversation, chosen, rejected,
    category, objectivity, controversiality, desired, guideline
FROM gold g JOIN clean_pool c USING (pair_id) JOIN attributes USING (pair_id)
WHERE g.iteration = $iteration AND role IN {roles}
ORDER BY md5_number_lower(pair_id || $seed) LIMIT $n
