-- The records that lost, and to whom; `survivors` is the result of deduped.sql.
-- $low VARCHAR, $high VARCHAR
-- TABLE survivors AS pool/deduped
SELECT p.pair_id, p.source, p.row, p.part, s.source AS kept_source, s.row AS kept_row
FROM raw_pool p
JOIN survivors s USING (pair_id)
WHERE p.comparison_id >= $low AND p.comparison_id < $high
    AND (p.source, p.row, p.part) <> (s.source, s.row, s.part)
