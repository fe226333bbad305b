SELECT upto, pair_id
FROM (FROM snapshot_pairs WHERE snapshot = 'filtered') f
FULL JOIN (FROM snapshot_pairs WHERE snapshot = 'corrected') c USING (upto, pair_id)
WHERE c.verified_order IS NULL OR (f.verified_order IS NULL) <> (c.verified_order = 'swapped')
