-- Some pairs of the whole pool, drawn by hash.
-- $seed VARCHAR, $n BIGINT
SELECT pair_id, comparison_id, conversation, chosen, rejected FROM clean_pool ORDER BY draw(pair_id, $seed) LIMIT $n
