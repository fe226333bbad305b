-- Pairs whose language and task are looked at: a sample by hash, those with the smallest ids.
-- $n BIGINT
SELECT source, conv_id, conversation, chosen
FROM (SELECT pair_id FROM clean_pool ORDER BY pair_id LIMIT $n) JOIN clean_pool USING (pair_id)
