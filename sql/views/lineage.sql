-- One row a pair: everything known of it.
CREATE OR REPLACE VIEW lineage AS
    SELECT p.pair_id, p.comparison_id, p.conv_id, p.cluster_id, p.source, p.row, p.part, p.stage, p.label_origin,
        p.copies, p.also_in, p.conflict, p.bucket,
        a.category, a.objectivity, a.controversiality,
        s.p_best, s.p_gold, d.b, d.g, d.j, d.route, o.class, o.decided_by, o.reason, o.iteration,
        p.conversation, p.chosen, p.rejected
    FROM clean_pool p
    JOIN outcome o USING (pair_id)
    LEFT JOIN pair_attributes a USING (pair_id)
    LEFT JOIN scores s USING (pair_id)
    LEFT JOIN decisions d USING (pair_id)
