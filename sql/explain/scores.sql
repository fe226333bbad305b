-- What the models and the rule said of a pair of stage 2.
-- $pair VARCHAR
SELECT s.*, d.* EXCLUDE (pair_id, bucket) FROM scores s LEFT JOIN decisions d USING (pair_id) WHERE pair_id = $pair
