-- The pairs of a snapshot without their texts: who verified each and by what rule. What is only as it came was verified
-- by nobody.
-- $snapshot VARCHAR, $upto VARCHAR
WITH released AS (
    SELECT pair_id, label_source, rule, weight, p_right, risk FROM release_corrected WHERE $upto = 'stage2'
    UNION ALL
    SELECT pair_id, label_source, label_source || ' ' || iteration, 1.0::DOUBLE, NULL,
        CASE WHEN objectivity IS NULL THEN NULL WHEN low_risk(objectivity, controversiality) THEN 'low' ELSE 'risky' END
    FROM verified LEFT JOIN pair_attributes USING (pair_id) WHERE $upto <> 'stage2'
)
SELECT s.pair_id, p.source, s.verified_order = 'swapped' AS flipped,
    CASE WHEN $snapshot = 'original' THEN 'source' ELSE r.label_source END AS label_source,
    CASE WHEN $snapshot = 'original' THEN 'as it came' ELSE r.rule END AS rule,
    coalesce(r.weight, 1.0) AS weight,
    CASE WHEN $snapshot = 'original' THEN NULL ELSE r.p_right END AS p_right, r.risk
FROM snapshot_pairs s JOIN clean_pool p USING (pair_id) LEFT JOIN released r USING (pair_id)
WHERE s.snapshot = $snapshot AND s.upto = $upto
