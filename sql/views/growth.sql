-- How the pool grew (spec 0.05): what each source brought with the iteration in which it joined. Of its pairs some are
-- repeated (equal to another of the same iteration), some known (there since an earlier one), some contaminated, the
-- others new; a new pair that bears the opposite label of a pair of the pool is contradicting.
CREATE OR REPLACE VIEW growth AS
    WITH counted AS (
        SELECT source, 'unreadable' AS what, count(*) AS n FROM quarantine GROUP BY source
        UNION ALL SELECT source, 'unusable', count(*) FROM unusable GROUP BY source
        UNION ALL SELECT source, 'pairs', count(*) FROM raw_pool GROUP BY source
        UNION ALL SELECT d.source, CASE WHEN k.joined < s.joined THEN 'known' ELSE 'repeated' END, count(*)
            FROM duplicates d JOIN sources s USING (source) JOIN sources k ON k.source = d.kept_source GROUP BY ALL
        UNION ALL SELECT source, 'contaminated', count(*) FROM contaminated GROUP BY source
        UNION ALL SELECT source, 'new', count(*) FROM clean_pool GROUP BY source
        UNION ALL SELECT source, 'contradicting', count(*) FROM clean_pool WHERE conflict GROUP BY source
    )
    SELECT joined, source,
        coalesce(sum(n) FILTER (what = 'unreadable'), 0)::BIGINT AS unreadable,
        coalesce(sum(n) FILTER (what = 'unusable'), 0)::BIGINT AS unusable,
        coalesce(sum(n) FILTER (what = 'pairs'), 0)::BIGINT AS pairs,
        coalesce(sum(n) FILTER (what = 'repeated'), 0)::BIGINT AS repeated,
        coalesce(sum(n) FILTER (what = 'known'), 0)::BIGINT AS known,
        coalesce(sum(n) FILTER (what = 'contaminated'), 0)::BIGINT AS contaminated,
        coalesce(sum(n) FILTER (what = 'new'), 0)::BIGINT AS new,
        coalesce(sum(n) FILTER (what = 'contradicting'), 0)::BIGINT AS contradicting
    FROM sources LEFT JOIN counted USING (source)
    GROUP BY joined, source
