-- The headroom at the pool's size that was foreseen after the last iteration.
SELECT value, low, high FROM worth
WHERE figure = 'headroom' AND item = 'at_pool_size' AND value IS NOT NULL
    AND iteration = (SELECT max(iteration) FROM worth WHERE figure = 'headroom')
