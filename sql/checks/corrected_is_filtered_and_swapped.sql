SELECT upto, pair_id
FROM (FROM snapshot_pairs WHERE "view" = 'filtered') f
FULL JOIN (FROM snapshot_pairs WHERE "view" = 'corrected') c USING (upto, pair_id)
WHERE c."order" IS NULL OR (f."order" IS NULL) <> (c."order" = 'swapped')
