-- What the first and the last iteration's model earn on each gold pair that both saw; ties count half.
WITH ends AS (SELECT min(iteration) AS earliest, max(iteration) AS latest FROM gold_predictions)
SELECT hit(a.p - 0.5)::DOUBLE AS before, hit(b.p - 0.5)::DOUBLE AS after
FROM gold_predictions a JOIN gold_predictions b USING (pair_id), ends
WHERE a.iteration = earliest AND b.iteration = latest AND earliest < latest
ORDER BY pair_id
