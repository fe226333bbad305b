-- Dollars a label of each judge on gold.
SELECT judge, 'all' AS stratum, 'dollars_per_label' AS figure,
    sum(cost_micros) / 1e6 / count(*) FILTER (status = 'ok') AS value, NULL::DOUBLE AS low, NULL::DOUBLE AS high,
    count(*) FILTER (status = 'ok') AS n, count(DISTINCT pair_id) AS pairs
FROM gold_votes GROUP BY judge HAVING n > 0 ORDER BY judge
