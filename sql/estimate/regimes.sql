-- What a pair of each regime has cost so far: dollars over the pairs that came of them; the three together are all that
-- was spent on labels (spec 9.03).
WITH spent AS (
    SELECT CASE WHEN stage IN ('stage2', 'audit') THEN 'stage2' WHEN who = 'people' THEN 'gold'
        WHEN ends_with(stage, 'responses checked') THEN 'gold' ELSE 'silver' END AS regime,
        sum(dollars) AS dollars, bool_or(simulated) AS simulated
    FROM cost GROUP BY ALL
), made AS (
    SELECT 'gold' AS regime, (SELECT count(*) FROM gold) AS pairs
    UNION ALL SELECT 'silver', (SELECT count(*) FROM silver)
    UNION ALL SELECT 'stage2', (SELECT count(*) FROM decisions WHERE class IN ('keep', 'flip'))
)
SELECT regime, pairs, coalesce(dollars, 0)::DOUBLE AS dollars, coalesce(simulated, false) AS simulated
FROM made LEFT JOIN spent USING (regime) ORDER BY regime
