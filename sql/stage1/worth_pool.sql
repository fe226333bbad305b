-- A random sample, by hash, of the pairs that people did not decide; conversations of test gold stay unread.
-- $seed VARCHAR, $n BIGINT
SELECT pair_id, comparison_id, cluster_id, conversation, chosen, rejected, source
FROM clean_pool
WHERE pair_id NOT IN (SELECT pair_id FROM gold)
    AND cluster_id NOT IN (SELECT cluster_id FROM gold WHERE role = 'test')
ORDER BY draw(pair_id, $seed), pair_id
LIMIT $n
