-- How many records came in.
SELECT (SELECT count(*) FROM raw_pool) + (SELECT count(*) FROM unusable) + (SELECT count(*) FROM quarantine) AS n
