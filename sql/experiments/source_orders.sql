-- One source as it came, less what no training set holds.
-- $source VARCHAR
SELECT pair_id, 'original' AS verified_order, 1.0::DOUBLE AS weight, 1.0::DOUBLE AS target FROM clean_pool
WHERE source = $source AND cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
    AND pair_id NOT IN (SELECT pair_id FROM undecided)
