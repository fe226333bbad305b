-- Size and content of a training set. A pair's id is a hash of its texts, so the sums are one of the content, whatever the
-- order of the rows.
-- TABLE orders (pair_id VARCHAR, verified_order VARCHAR, weight DOUBLE, target DOUBLE)
SELECT count(*) AS pairs, count(*) FILTER (verified_order = 'swapped') AS swapped,
    md5(concat_ws('/', count(*), sum(md5_number_lower(concat_ws('/', pair_id, verified_order, weight, target))::HUGEINT),
        sum(md5_number_upper(concat_ws('/', pair_id, verified_order, weight, target))::HUGEINT))) AS hash
FROM orders
