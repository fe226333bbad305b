-- The planted truth of some comparisons.
-- TABLE wanted (comparison_id VARCHAR)
SELECT comparison_id, winner, topic, gap FROM planted_labels SEMI JOIN wanted USING (comparison_id)
