-- A pair of each source and benchmark that share n-grams, for the page.
SELECT * FROM contaminated QUALIFY row_number() OVER (PARTITION BY source, benchmark ORDER BY pair_id) = 1
ORDER BY benchmark, source LIMIT 12
