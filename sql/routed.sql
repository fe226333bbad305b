-- Pairs for whom the judges can change the class: b is not + and g is +, or b is 0 and g is - (spec 4, invariant 3).
-- Under no_human there is no gold model and every pair the best model does not confirm is asked about.
WITH votes AS (
    SELECT pair_id, p_best,
        CASE WHEN p_best > {threshold} + {band} THEN '+' WHEN p_best < {threshold} - {band} THEN '-' ELSE '0' END AS b,
        CASE WHEN p_gold > 0.5 THEN '+' WHEN p_gold < 0.5 THEN '-' ELSE '0' END AS g
    FROM scores WHERE bucket = '{bucket}' AND unscored IS NULL
)
SELECT pair_id, p_best,
    CASE WHEN p_best <= 0.5 THEN {k_max} ELSE ceil({k_max} * (1 - p_best)) END::BIGINT AS k
FROM votes
WHERE CASE '{policy}'
    WHEN 'best_only' THEN false
    WHEN 'gold_only' THEN false
    WHEN 'both' THEN false
    WHEN 'no_human' THEN b <> '+'
    WHEN 'flip_all' THEN b <> '+' AND g = '+'
    ELSE (b <> '+' AND g = '+') OR (b = '0' AND g = '-')
END
