-- Every input record that is not in the clean pool, with the reason and what it rests on.
CREATE OR REPLACE VIEW removed AS
    SELECT source, row, part, reason, evidence FROM unusable
    UNION ALL
    SELECT source, row, part, 'duplicate', 'kept: ' || kept_source || ' row ' || kept_row FROM duplicates
    UNION ALL
    SELECT d.source, d.row, d.part, 'contaminated', c.benchmark || ' ' || c.item_id || ': ' || c.span
    FROM contaminated c JOIN deduped d USING (pair_id)
