-- People's and judges' labels of stage 1, whichever iteration they came in.
CREATE OR REPLACE VIEW verified AS
    SELECT pair_id, cluster_id, verified_order, 'people' AS label_source, role, iteration FROM gold
    UNION ALL
    SELECT pair_id, cluster_id, verified_order, 'judges', NULL, iteration FROM silver
