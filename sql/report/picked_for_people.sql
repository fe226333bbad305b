-- The first selected pairs (table picked) with what people see; attributes by rule where nobody labelled them are filled in
-- by whoever asks.
-- $most BIGINT
-- TABLE picked (pair_id VARCHAR)
SELECT p.pair_id, p.comparison_id, p.cluster_id, p.conversation, p.chosen, p.rejected, a.category, a.objectivity,
    a.controversiality, a.desired, a.guideline
FROM clean_pool p SEMI JOIN (FROM picked ORDER BY pair_id LIMIT $most) USING (pair_id)
LEFT JOIN pair_attributes a USING (pair_id)
ORDER BY p.pair_id
