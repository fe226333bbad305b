-- Did retrieval look where the model is weak, and find what is wrong? Pairs retrieved for a batch beside those drawn at
-- random for the same batches: the share of mislabelled ones, by the reference and by what people answered, and the
-- share from the planted topics on whose gold the model before that batch erred more often than on the rest.
-- TABLE truth AS report/truth
WITH errors AS (
    SELECT iteration, topic, 1 - hit(p - 0.5) AS error
    FROM gold_predictions JOIN truth USING (pair_id) WHERE against = 'planted'
), weak AS (
    SELECT iteration, topic FROM errors JOIN (SELECT iteration, avg(error) AS usual FROM errors GROUP BY 1) USING (iteration)
    GROUP BY iteration, topic HAVING avg(error) > any_value(usual)
), asked AS (
    SELECT pair_id, why, (SELECT max(iteration) FROM gold_predictions g WHERE g.iteration < b.iteration) AS model_of
    FROM (SELECT pair_id, why, min(iteration) AS iteration FROM annotation_batch GROUP BY ALL) b
    UNION ALL
    SELECT pair_id, 'pool', model_of
    FROM clean_pool, (SELECT DISTINCT iteration AS model_of FROM gold_predictions)
    WHERE stage <> 'stage2' AND model_of < (SELECT max(iteration) FROM annotation_batch)
), batches AS (
    SELECT DISTINCT pair_id, why FROM annotation_batch  -- what a closed batch left is in two
    UNION ALL
    SELECT pair_id, 'pool' FROM clean_pool WHERE stage <> 'stage2'
)
SELECT 'mislabelled_in_batch' AS figure, why AS figure_group, count(*) FILTER (NOT original_right)::DOUBLE AS hits,
    count(original_right) AS n, any_value(against) AS against
FROM batches JOIN truth USING (pair_id) GROUP BY why
UNION ALL
SELECT 'swapped_by_people', why, count(*) FILTER (verified_order = 'swapped'), count(*), 'people'
FROM batches JOIN gold USING (pair_id) WHERE why <> 'pool' GROUP BY why
UNION ALL
SELECT 'weak_topic_in_batch', why, count(w.topic), count(*), 'planted'
FROM asked JOIN truth t USING (pair_id) LEFT JOIN weak w ON w.iteration = model_of AND w.topic = t.topic
WHERE model_of IS NOT NULL AND t.against = 'planted' GROUP BY why
