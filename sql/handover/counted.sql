-- How many pairs a release holds, by source, who verified them, the rule and the order.
-- TABLE chosen_pairs (pair_id VARCHAR, source VARCHAR, flipped BOOLEAN, label_source VARCHAR, rule VARCHAR)
SELECT source, label_source, rule, flipped, count(*) AS pairs FROM chosen_pairs GROUP BY ALL ORDER BY ALL
