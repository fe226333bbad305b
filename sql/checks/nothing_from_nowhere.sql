SELECT upto, pair_id
FROM (FROM snapshot_pairs WHERE snapshot = 'corrected') c
ANTI JOIN (FROM snapshot_pairs WHERE snapshot = 'original') o USING (upto, pair_id)
