-- What a condition on a training set can name beside its pairs: the pool's columns, attributes as far as they are known,
-- and what stage 2's models think.
-- TABLE orders (pair_id VARCHAR, verified_order VARCHAR, weight DOUBLE, target DOUBLE)
SELECT p.*, o.verified_order, o.weight, o.target, a.category, a.objectivity, a.controversiality, s.p_best, s.p_gold
FROM orders o JOIN clean_pool p USING (pair_id)
LEFT JOIN pair_attributes a USING (pair_id) LEFT JOIN scores s USING (pair_id)
