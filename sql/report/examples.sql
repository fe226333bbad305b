-- A few pairs of every class of stage 2, drawn by hash, with all that was said about them.
-- $each BIGINT
-- TABLE truth AS report/truth
WITH drawn AS (
    SELECT d.pair_id, d.class, d.b, d.g, d.j, d.route, d.reason
    FROM decisions d
    QUALIFY row_number() OVER (PARTITION BY class ORDER BY (j <> '') DESC, md5(pair_id)) <= $each
)
SELECT d.*, p.source, p.conversation, p.chosen, p.rejected, s.p_best, s.p_gold, v.votes,
    a.category, t.topic, t.against, t.original_right, t.pair_id IS NOT NULL AS known
FROM drawn d
JOIN clean_pool p USING (pair_id)
LEFT JOIN scores s USING (pair_id)
LEFT JOIN stage2_verdicts v USING (pair_id)
LEFT JOIN pair_attributes a USING (pair_id)
LEFT JOIN truth t USING (pair_id)
ORDER BY array_position(['keep', 'flip', 'drop'], d.class), d.pair_id
