-- A simple random sample, by hash, of the pairs that stage 2 decides; conversations of test gold stay unread.
-- $seed VARCHAR, $n BIGINT
SELECT pair_id, comparison_id, cluster_id, conversation, chosen, rejected
FROM clean_pool
WHERE pair_id NOT IN (SELECT pair_id FROM verified) AND pair_id NOT IN (SELECT pair_id FROM undecided)
    AND cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
ORDER BY md5(pair_id || $seed), pair_id
LIMIT $n
