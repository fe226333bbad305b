-- By task and controversiality: pairs of the pool that nobody was asked about, and what people have said of the original labels
-- of those that they decided (spec 3.19). Pairs whose attributes are not known yet are not counted.
SELECT category || ', ' || controversiality AS stratum,
    count(*) FILTER (b.pair_id IS NULL) AS stock,
    count(*) FILTER (g.verified_order = 'original') AS left_as_it_was,
    count(*) FILTER (g.verified_order = 'swapped') AS turned
FROM pair_attributes a JOIN (SELECT pair_id FROM clean_pool) USING (pair_id)
LEFT JOIN (SELECT DISTINCT pair_id FROM annotation_batch) b USING (pair_id)
LEFT JOIN (SELECT pair_id, verified_order FROM gold) g USING (pair_id)
GROUP BY 1 ORDER BY 1
