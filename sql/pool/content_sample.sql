-- The pairs of a bucket whose language and task are looked at: a sample by hash, those with the smallest ids.
-- $bucket VARCHAR, $n BIGINT
SELECT source, conv_id, conversation, chosen
FROM (SELECT pair_id FROM clean_pool WHERE bucket = $bucket ORDER BY pair_id LIMIT $n)
    JOIN (FROM clean_pool WHERE bucket = $bucket) USING (pair_id)
