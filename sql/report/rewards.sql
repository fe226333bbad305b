-- One model's rewards on one benchmark.
-- $model VARCHAR, $benchmark VARCHAR
SELECT item_id, candidate, reward FROM benchmark_scores WHERE model = $model AND benchmark = $benchmark
