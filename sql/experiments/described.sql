-- What the pairs of a training set look like, in the order that they are trained in. Lengths are characters; bins are
-- eighths of a doubling, and sort by name.
-- TABLE orders (pair_id VARCHAR, verified_order VARCHAR, weight DOUBLE, target DOUBLE)
-- TABLE topics (pair_id VARCHAR, topic VARCHAR)
SELECT o.*, p.source, coalesce(t.topic, '') AS topic,
    length(p.chosen) + length(p.rejected) AS length,
    (length(p.chosen) - length(p.rejected)) * CASE WHEN o.verified_order = 'original' THEN 1 ELSE -1 END AS longer,
    (s.r_chosen_best - s.r_rejected_best) * CASE WHEN o.verified_order = 'original' THEN 1 ELSE -1 END AS margin,
    lpad(round(8 * log2(1 + length(p.chosen) + length(p.rejected)))::BIGINT::VARCHAR, 3, '0') AS length_bin,
    lpad((500 + round(4 * sign(length(p.chosen) - length(p.rejected))
        * CASE WHEN o.verified_order = 'original' THEN 1 ELSE -1 END
        * log2(1 + abs(length(p.chosen) - length(p.rejected))))::BIGINT)::VARCHAR, 3, '0') AS longer_bin
FROM orders o JOIN clean_pool p USING (pair_id) LEFT JOIN scores s USING (pair_id) LEFT JOIN topics t USING (pair_id)
