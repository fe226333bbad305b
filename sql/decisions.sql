-- Keep, flip or drop, with the votes it follows from. Votes on the original order: b best model, g gold model,
-- j judges; + agrees, - prefers the other order, 0 cannot tell (spec 4, partition; policies O-01 to O-03).
WITH votes AS (
    SELECT s.pair_id, unscored,
        CASE WHEN p_best > {threshold} + {band} THEN '+' WHEN p_best < {threshold} - {band} THEN '-' ELSE '0' END AS b,
        CASE WHEN p_gold > 0.5 THEN '+' WHEN p_gold < 0.5 THEN '-' ELSE '0' END AS g,
        CASE v.verdict WHEN 'original' THEN '+' WHEN 'swapped' THEN '-' WHEN 'undecided' THEN '0' ELSE '' END AS j
    FROM scores s LEFT JOIN stage2_verdicts v USING (pair_id) WHERE s.bucket = '{bucket}'
), classed AS (
    SELECT *, CASE
        WHEN unscored IS NOT NULL THEN 'drop'
        ELSE CASE '{policy}'
            WHEN 'best_only' THEN CASE b WHEN '+' THEN 'keep' WHEN '-' THEN 'flip' ELSE 'drop' END
            WHEN 'gold_only' THEN CASE g WHEN '+' THEN 'keep' WHEN '-' THEN 'flip' ELSE 'drop' END
            WHEN 'both' THEN
                CASE WHEN b = '+' AND g = '+' THEN 'keep' WHEN b = '-' AND g = '-' THEN 'flip' ELSE 'drop' END
            WHEN 'no_human' THEN
                CASE WHEN b = '+' OR j = '+' THEN 'keep' WHEN j = '-' THEN 'flip' ELSE 'drop' END
            WHEN 'direct_retain' THEN
                CASE WHEN b = '+' OR (g = '+' AND j = '+') THEN 'keep'
                    WHEN g = '-' AND (b = '-' OR j = '-') THEN 'flip' ELSE 'drop' END
            WHEN 'flip_all' THEN CASE WHEN g = '+' AND (b = '+' OR j = '+') THEN 'keep' ELSE 'flip' END
            ELSE CASE WHEN g = '+' AND (b = '+' OR j = '+') THEN 'keep'
                WHEN g = '-' AND (b = '-' OR j = '-') THEN 'flip' ELSE 'drop' END
        END
    END AS class
    FROM votes
)
SELECT pair_id, b, g, j,
    CASE WHEN j <> '' THEN 'judged' WHEN class = 'keep' THEN 'confident' ELSE 'unasked' END AS route,
    class,
    CASE
        WHEN unscored IS NOT NULL THEN unscored
        WHEN class = 'keep' THEN CASE WHEN j = '+' AND b <> '+' THEN 'judged' ELSE 'agreed' END
        WHEN class = 'flip' THEN CASE WHEN b = '-' AND g = '-' THEN 'both_reject' WHEN j = '-' THEN 'judged'
            ELSE 'rest' END
        WHEN j = '0' THEN 'undecided'
        WHEN g = '0' OR (b = '0' AND j = '') THEN 'tie'
        ELSE 'conflict'
    END AS reason,
    '{rule}' AS rule
FROM classed
