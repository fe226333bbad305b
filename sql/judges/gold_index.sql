-- Gold that may be shown to judges as examples, up to an iteration.
-- $iteration VARCHAR
SELECT pair_id, cluster_id, vector FROM gold_attributes WHERE is_example(role) AND iteration <= $iteration ORDER BY pair_id
