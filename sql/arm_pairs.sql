-- Training pairs of one arm: original (the clean pool as it came, less the gold test share), random (a part of it as
-- large as the curated release), filtered (the curated release), corrected (with flips). At most {limit}, drawn by hash.
WITH pool AS (
    SELECT pair_id, conversation, chosen, rejected, 1.0::DOUBLE AS weight FROM clean_pool
    WHERE pair_id NOT IN (SELECT pair_id FROM gold WHERE role = 'test')
), arm AS (
    SELECT * FROM pool WHERE '{arm}' = 'original'
    UNION ALL
    SELECT * FROM (SELECT * FROM pool WHERE '{arm}' = 'random' ORDER BY md5_number_lower(pair_id || 'random {seed}')
        LIMIT (SELECT count(*) FROM release_curated))
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight FROM release_curated WHERE '{arm}' = 'filtered'
    UNION ALL
    SELECT pair_id, conversation, chosen, rejected, weight FROM release_corrected WHERE '{arm}' = 'corrected'
)
SELECT * FROM arm ORDER BY md5_number_lower(pair_id || 'limit {seed}') LIMIT {limit}
