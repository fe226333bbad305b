-- People's labels that fit probabilities besides the audit's: gold of the role calibration that chance brought in.
SELECT g.pair_id, g.verified_order = 'original' AS is_right
FROM gold g JOIN annotation_batch b USING (pair_id, iteration)
WHERE role = 'calibration' AND by_chance(why)
ORDER BY pair_id
