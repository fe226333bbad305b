-- People's labels that may calibrate: of the role calibration, and drawn at random with a known probability.
SELECT g.pair_id, g.cluster_id, g."order", b.inclusion
FROM gold g JOIN annotation_batch b USING (pair_id, iteration)
WHERE role = 'calibration' AND why IN ('seed', 'random') AND inclusion > 0
ORDER BY pair_id
