SELECT upto, pair_id
FROM (FROM snapshot_pairs WHERE "view" = 'corrected') c
ANTI JOIN (FROM snapshot_pairs WHERE "view" = 'original') o USING (upto, pair_id)
