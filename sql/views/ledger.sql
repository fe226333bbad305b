-- The ledger: input records by the one class each ended in.
CREATE OR REPLACE VIEW ledger AS
    SELECT source, 'quarantine' AS class, reason, count(*) AS records FROM quarantine GROUP BY ALL
    UNION ALL
    SELECT source, 'removed', reason, count(*) FROM removed GROUP BY ALL
    UNION ALL
    SELECT p.source, o.class, o.reason, count(*) FROM clean_pool p JOIN outcome o USING (pair_id) GROUP BY ALL
    UNION ALL
    SELECT w.source, 'pending', 'not yet deduplicated', count(*)
    FROM (FROM raw_pool ANTI JOIN deduped USING (source, row, part) ANTI JOIN duplicates USING (source, row, part)) w
    LEFT JOIN deduped d USING (pair_id)
    LEFT JOIN (SELECT pair_id, count(*) AS lost FROM duplicates GROUP BY pair_id) USING (pair_id)
    WHERE d.pair_id IS NULL OR d.copies = 1 + coalesce(lost, 0)  -- else it was counted and not listed: a gap
    GROUP BY ALL
    UNION ALL
    SELECT source, 'pending', 'not yet decontaminated', count(*)
    FROM deduped ANTI JOIN clean_pool USING (pair_id) ANTI JOIN contaminated USING (pair_id) GROUP BY ALL
