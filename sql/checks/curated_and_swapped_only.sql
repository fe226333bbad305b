-- $partition VARCHAR
SELECT pair_id
FROM new FULL JOIN (SELECT pair_id, true AS curated FROM release_curated WHERE bucket = $partition) c USING (pair_id)
WHERE coalesce(curated, false) = coalesce(flipped, true)
