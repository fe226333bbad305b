-- Pairs that the seed holds, and that it could have held.
SELECT (SELECT count(*) FROM seed_selection) AS seed, (SELECT count(*) FROM clean_pool) AS eligible
