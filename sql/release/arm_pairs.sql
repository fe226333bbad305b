-- Training pairs of one arm: original (the clean pool as it came), random (a part of it as large as the curated release),
-- filtered (the curated release), corrected (with flips), soft (every scored pair as it came, with its calibrated
-- probability as the target, and what people and judges verified), gold (people's labels alone), oracle (the generated pool
-- in its planted order). <arm>_with_gold: people's pairs in their order beside it, and no longer as they came. None has a
-- pair of the gold test share's clusters, or one that nobody could decide. At most $n, drawn by hash; null takes all.
-- $arm VARCHAR, $seed VARCHAR, $n BIGINT
WITH named AS (
    SELECT replace($arm, '_with_gold', '') AS arm, $arm = 'gold' OR ends_with($arm, '_with_gold') AS with_gold
), people AS (
    SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
        worse_of(verified_order, chosen, rejected) AS rejected, 1.0::DOUBLE AS weight, 1.0::DOUBLE AS target
    FROM gold JOIN clean_pool USING (pair_id) WHERE role <> 'test'
), pool AS (
    SELECT pair_id, conversation, chosen, rejected, 1.0::DOUBLE AS weight, 1.0::DOUBLE AS target FROM clean_pool
    WHERE cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
        AND pair_id NOT IN (SELECT pair_id FROM undecided)
), of_arm AS (
    SELECT pool.* FROM pool, named WHERE arm = 'original'
    UNION ALL
    SELECT * FROM (SELECT pool.* FROM pool, named WHERE arm = 'random' ORDER BY draw(pair_id, 'random ' || $seed)
        LIMIT (SELECT count(*) FROM release_curated))
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight, 1.0 FROM release_curated, named WHERE arm = 'filtered'
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight, 1.0 FROM release_corrected, named WHERE arm = 'corrected'
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight, p_right FROM decisions JOIN pool USING (pair_id), named
    WHERE arm = 'soft' AND p_right IS NOT NULL
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight, 1.0 FROM release_corrected, named
    WHERE arm = 'soft' AND label_source <> 'models'
    UNION ALL
    SELECT pair_id, conversation, better_of(verified_order, chosen, rejected), worse_of(verified_order, chosen, rejected),
        weight, target
    FROM oracle_labels JOIN pool USING (pair_id), named WHERE arm = 'oracle'
), arm AS (
    SELECT of_arm.* FROM of_arm, named WHERE NOT (with_gold AND pair_id IN (SELECT pair_id FROM people))
    UNION ALL
    SELECT people.* FROM people, named WHERE with_gold
)
SELECT * FROM arm ORDER BY draw(pair_id, 'limit ' || $seed) LIMIT $n
