SELECT a.upto, a."view", a.pair_id
FROM snapshot_pairs a
JOIN (
    SELECT upto, lead(upto) OVER (ORDER BY upto) AS following FROM (SELECT DISTINCT upto FROM snapshot_pairs)
) s USING (upto)
WHERE following IS NOT NULL AND NOT EXISTS (
    FROM snapshot_pairs b
    WHERE b.upto = following AND b."view" = a."view" AND b.pair_id = a.pair_id AND b."order" = a."order"
)
