SELECT a.upto, a.snapshot, a.pair_id
FROM snapshot_pairs a
JOIN (
    SELECT upto, lead(upto) OVER (ORDER BY upto) AS following FROM (SELECT DISTINCT upto FROM snapshot_pairs)
) s USING (upto)
WHERE following IS NOT NULL AND NOT EXISTS (
    FROM snapshot_pairs b
    WHERE b.upto = following AND b.snapshot = a.snapshot AND b.pair_id = a.pair_id AND b.verified_order = a.verified_order
)
