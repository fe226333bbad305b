-- Where every pair of the clean pool ended: exactly one row a pair.
CREATE OR REPLACE VIEW outcome AS
    SELECT p.pair_id,
        CASE
            WHEN h.cluster_id IS NOT NULL THEN 'held_out'
            WHEN v.pair_id IS NOT NULL THEN CASE v.verified_order WHEN 'original' THEN 'keep' ELSE 'flip' END
            WHEN u.pair_id IS NOT NULL THEN 'drop'
            WHEN d.pair_id IS NOT NULL THEN d.class
            ELSE 'pending'
        END AS class,
        CASE
            WHEN v.pair_id IS NOT NULL THEN v.label_source
            WHEN u.pair_id IS NOT NULL THEN u.desk
            WHEN d.pair_id IS NOT NULL THEN 'models'
        END AS decided_by,
        CASE WHEN v.pair_id IS NOT NULL THEN 'verified' WHEN h.cluster_id IS NOT NULL THEN 'test_cluster'
            ELSE coalesce(u.reason, d.reason) END AS reason,
        coalesce(v.iteration, u.iteration) AS iteration
    FROM clean_pool p
    LEFT JOIN held_out_clusters h USING (cluster_id)
    LEFT JOIN verified v USING (pair_id)
    LEFT JOIN undecided u USING (pair_id)
    LEFT JOIN decisions d USING (pair_id)
