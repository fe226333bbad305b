-- A candidate that several gold pairs found belongs to the nearest of them (spec 3.05, O-11), of equally near ones to the
-- first by id.
-- $iteration VARCHAR
-- TABLE found (pair_id VARCHAR, query_pair VARCHAR, rank BIGINT, similarity DOUBLE)
SELECT f.pair_id, f.query_pair, f.rank, f.similarity, p.p AS p_query, p.k
FROM found f JOIN gold_predictions p ON p.pair_id = f.query_pair AND p.iteration = $iteration
QUALIFY row_number() OVER (PARTITION BY f.pair_id ORDER BY f.similarity DESC, f.query_pair, f.rank) = 1
ORDER BY f.pair_id
