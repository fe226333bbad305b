-- The pairs of a bucket that are not flagged; $low and $high bound its ids, so that only their row groups are read.
-- $bucket VARCHAR, $low VARCHAR, $high VARCHAR
-- TABLE flagged AS pool/contaminated
SELECT d.* EXCLUDE (bucket), p.conversation, p.chosen, p.rejected, c.cluster_id
FROM raw_pool p
JOIN deduped d USING (comparison_id, pair_id, source, row, part)
JOIN clusters c ON c.conv_id = d.conv_id
ANTI JOIN flagged f ON f.pair_id = d.pair_id
WHERE d.bucket = $bucket AND p.comparison_id >= $low AND p.comparison_id < $high
