-- The flow of records as links from one place to the next.
WITH ends AS (
    SELECT pair_id, CASE
            WHEN decided_by = 'people' AND o.reason = 'verified' THEN 'gold'
            WHEN decided_by = 'judges' AND o.reason = 'verified' THEN 'silver'
            WHEN decided_by IN ('people', 'judges') THEN 'undecided'
            WHEN d.class = 'keep' THEN 'kept' WHEN d.class = 'flip' THEN 'flipped' WHEN d.class = 'drop' THEN 'dropped'
            ELSE 'pending'
        END AS decision,
        CASE o.class WHEN 'keep' THEN 'curated release' WHEN 'flip' THEN 'corrected release only'
            WHEN 'held_out' THEN 'test share, held out' ELSE 'left out' END AS release
    FROM outcome o LEFT JOIN decisions d USING (pair_id)
)
SELECT 'source ' || source AS "from", 'raw pool' AS "to", count(*) AS n FROM raw_pool GROUP BY source
UNION ALL SELECT 'source ' || source, 'unusable', count(*) FROM unusable GROUP BY source
UNION ALL SELECT 'source ' || source, 'unreadable', count(*) FROM quarantine GROUP BY source
UNION ALL SELECT 'raw pool', 'duplicates', count(*) FROM duplicates
UNION ALL SELECT 'raw pool', 'contaminated', count(*) FROM contaminated
UNION ALL SELECT 'raw pool', 'clean pool', count(*) FROM clean_pool
UNION ALL SELECT 'clean pool', decision, count(*) FROM ends GROUP BY decision
UNION ALL SELECT decision, release, count(*) FROM ends GROUP BY ALL
