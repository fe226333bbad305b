-- Which stratum each pair is in, by the margins of both models.
-- $threshold DOUBLE, $band DOUBLE
-- TABLE margins (place BIGINT, best DOUBLE, gold DOUBLE)
SELECT stratum_of(stage2_vote(sigmoid(best), $threshold, $band), stage2_vote(sigmoid(gold), 0.5, 0.0)) AS stratum
FROM margins ORDER BY place
