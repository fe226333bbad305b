-- How many: input records, every class of the ledger, every reason to remove, every table that the flow shows.
SELECT 'records' AS figure, 'input' AS figure_group,
    (SELECT count(*) FROM raw_pool) + (SELECT count(*) FROM unusable) + (SELECT count(*) FROM quarantine) AS n
UNION ALL
SELECT 'records', class, sum(records)::BIGINT FROM ledger GROUP BY class
UNION ALL
SELECT 'records_by_reason', class || ' / ' || coalesce(reason, ''), sum(records)::BIGINT FROM ledger GROUP BY ALL
UNION ALL
SELECT 'records_of_source', source, sum(records)::BIGINT FROM ledger GROUP BY source
UNION ALL
SELECT 'records_by_source', source || ' / ' || class, sum(records)::BIGINT FROM ledger GROUP BY ALL
UNION ALL
SELECT 'pairs', unnest([
        'raw pool', 'clean pool', 'gold', 'silver', 'undecided', 'kept', 'flipped', 'dropped', 'curated release',
        'corrected release'
    ]), unnest([
        (SELECT count(*) FROM raw_pool), (SELECT count(*) FROM clean_pool), (SELECT count(*) FROM gold),
        (SELECT count(*) FROM silver), (SELECT count(*) FROM undecided), (SELECT count(*) FROM kept),
        (SELECT count(*) FROM flipped), (SELECT count(*) FROM dropped), (SELECT count(*) FROM release_curated),
        (SELECT count(*) FROM release_corrected)
    ])
UNION ALL
SELECT 'kept_by_route', route, count(*) FROM kept GROUP BY route
UNION ALL
SELECT 'training_pairs', arm, any_value(pairs) FROM final_reward_model GROUP BY arm
