-- Did retrieval find what is wrong? The share of mislabelled pairs among those retrieved and those drawn at random for
-- the same batches, by the reference and by what people answered.
WITH batches AS (
    SELECT pair_id, why FROM annotation_batch
    UNION ALL
    SELECT pair_id, 'pool' FROM clean_pool WHERE stage <> 'stage2'
)
SELECT 'mislabelled_in_batch' AS figure, why AS "group", count(*) FILTER (NOT original_right)::DOUBLE AS hits,
    count(original_right) AS n, any_value(against) AS against
FROM batches JOIN truth USING (pair_id) GROUP BY why
UNION ALL
SELECT 'swapped_by_people', why, count(*) FILTER ("order" = 'swapped'), count(*), 'people'
FROM batches JOIN gold USING (pair_id) WHERE why <> 'pool' GROUP BY why
