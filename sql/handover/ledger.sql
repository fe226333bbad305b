-- The ledger of a release: every input record of the lake in exactly one class, with the reason.
-- TABLE candidates (pair_id VARCHAR, source VARCHAR, rule VARCHAR)
-- TABLE barred (source VARCHAR, barred VARCHAR)
-- TABLE chosen_pairs (pair_id VARCHAR)
-- TABLE left_out (pair_id VARCHAR, reason VARCHAR)
SELECT source, class, reason, sum(records)::BIGINT AS records FROM (
    SELECT source, class, reason, records FROM ledger
    WHERE class IN ('quarantine', 'removed') OR reason IN ('not yet deduplicated', 'not yet decontaminated')
    UNION ALL
    SELECT p.source,
        CASE WHEN r.pair_id IS NOT NULL THEN 'released' WHEN b.barred IS NOT NULL THEN 'not_permitted'
            WHEN l.pair_id IS NOT NULL THEN 'not_selected' WHEN o.class = 'keep' THEN 'kept, not in this snapshot'
            WHEN o.class = 'flip' THEN 'flipped, not in this snapshot' ELSE o.class END,
        CASE WHEN r.pair_id IS NOT NULL THEN c.rule WHEN b.barred IS NOT NULL THEN b.barred
            WHEN l.pair_id IS NOT NULL THEN l.reason ELSE coalesce(o.reason, '') END, count(*)
    FROM clean_pool p
    LEFT JOIN outcome o USING (pair_id)
    LEFT JOIN candidates c USING (pair_id)
    LEFT JOIN chosen_pairs r USING (pair_id)
    LEFT JOIN left_out l USING (pair_id)
    LEFT JOIN barred b ON b.source = p.source AND c.pair_id IS NOT NULL
    GROUP BY ALL
) GROUP BY ALL ORDER BY ALL
