-- Training pairs of one arm: original (the clean pool as it came, less the clusters of the gold test share), random (a
-- part of it as large as the curated release), filtered (the curated release), corrected (with flips), soft (every scored
-- pair as it came, with its calibrated probability as the target, and what people and judges verified). At most $n, drawn
-- by hash; null takes all.
-- $arm VARCHAR, $seed VARCHAR, $n BIGINT
WITH pool AS (
    SELECT pair_id, conversation, chosen, rejected, 1.0::DOUBLE AS weight, 1.0::DOUBLE AS target FROM clean_pool
    WHERE cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
), arm AS (
    SELECT * FROM pool WHERE $arm = 'original'
    UNION ALL
    SELECT * FROM (SELECT * FROM pool WHERE $arm = 'random' ORDER BY draw(pair_id, 'random ' || $seed)
        LIMIT (SELECT count(*) FROM release_curated))
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight, 1.0 FROM release_curated WHERE $arm = 'filtered'
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight, 1.0 FROM release_corrected WHERE $arm = 'corrected'
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight, p_right FROM decisions JOIN pool USING (pair_id)
    WHERE $arm = 'soft' AND p_right IS NOT NULL
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight, 1.0 FROM release_corrected
    WHERE $arm = 'soft' AND label_source <> 'models'
)
SELECT * FROM arm ORDER BY draw(pair_id, 'limit ' || $seed) LIMIT $n
