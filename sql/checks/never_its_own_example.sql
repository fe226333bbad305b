SELECT s.pair_id, example
FROM (SELECT DISTINCT pair_id, unnest(examples) AS example FROM new) s
JOIN clean_pool t USING (pair_id) JOIN clean_pool e ON e.pair_id = example
WHERE t.cluster_id = e.cluster_id OR t.comparison_id = e.comparison_id
