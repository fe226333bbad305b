-- $people + $judges pairs of stage 'seed', one a conversation cluster, dealt round robin over
-- (category, objectivity, controversiality); ties are broken by a hash of pair and $seed.
-- $people BIGINT, $judges BIGINT, $seed VARCHAR
WITH eligible AS (
    SELECT pair_id, cluster_id, category || ' / ' || objectivity || ' / ' || controversiality AS stratum,
        draw(pair_id, $seed) AS draw, count(*) OVER (PARTITION BY cluster_id) AS siblings
    FROM clean_pool JOIN attributes USING (pair_id)
    WHERE stage = 'seed' AND joined = 0 AND NOT conflict
), one_a_cluster AS (
    SELECT * FROM eligible QUALIFY row_number() OVER (PARTITION BY cluster_id ORDER BY draw) = 1
), dealt AS (
    SELECT *, row_number() OVER (PARTITION BY stratum ORDER BY draw) AS round,
        count(*) OVER (PARTITION BY stratum) AS stock
    FROM one_a_cluster
), taken AS (
    SELECT *, row_number() OVER (ORDER BY round, draw) AS place FROM dealt
    QUALIFY place <= $people::BIGINT + $judges::BIGINT
), placed AS (
    SELECT *, row_number() OVER (ORDER BY stratum, draw) * $people::BIGINT AS people_by_then FROM taken
)
-- both desks get their share of every stratum; a pair is taken for itself, and before that for its cluster
SELECT pair_id, cluster_id, stratum,
    CASE WHEN people_by_then % ($people::BIGINT + $judges::BIGINT) < $people::BIGINT THEN 'people' ELSE 'judges' END
        AS assigned_to,
    count(*) OVER (PARTITION BY stratum) / stock::DOUBLE / siblings AS inclusion
FROM placed
