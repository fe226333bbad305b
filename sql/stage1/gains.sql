-- Accuracy of each iteration's model and of the one before it on the gold both were asked about, up to $iteration; gold
-- grows, so that accuracies of other sets do not compare (spec O-09). Ties count half.
-- $iteration VARCHAR
WITH answers AS (
    SELECT iteration, pair_id, hit(p - 0.5) AS hit, dense_rank() OVER (ORDER BY iteration) AS place
    FROM gold_predictions WHERE iteration <= $iteration
)
SELECT b.iteration, avg(a.hit) AS before, avg(b.hit) AS after
FROM answers a JOIN answers b ON a.pair_id = b.pair_id AND a.place + 1 = b.place
GROUP BY 1 ORDER BY 1
