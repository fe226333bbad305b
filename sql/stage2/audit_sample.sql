-- A random draw, by hash, of the would-be flips, and one of each stratum; a pair may be in both.
-- $seed VARCHAR, $flips BIGINT, $agree BIGINT, $reject BIGINT, $split BIGINT
-- TABLE candidates (pair_id VARCHAR, comparison_id VARCHAR, stratum VARCHAR, class VARCHAR, asked BOOLEAN)
WITH drawn AS (
    (SELECT pair_id, stratum, true AS of_flips FROM candidates WHERE class = 'flip'
        ORDER BY md5(pair_id || $seed), pair_id LIMIT $flips)
    UNION ALL
    (SELECT pair_id, stratum, false FROM candidates WHERE stratum = 'agree'
        ORDER BY md5(pair_id || $seed), pair_id LIMIT $agree)
    UNION ALL
    (SELECT pair_id, stratum, false FROM candidates WHERE stratum = 'reject'
        ORDER BY md5(pair_id || $seed), pair_id LIMIT $reject)
    UNION ALL
    (SELECT pair_id, stratum, false FROM candidates WHERE stratum = 'split'
        ORDER BY md5(pair_id || $seed), pair_id LIMIT $split)
)
SELECT pair_id, stratum, bool_or(of_flips) AS of_flips, bool_or(NOT of_flips) AS of_strata FROM drawn GROUP BY ALL
