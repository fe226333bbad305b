-- $partition VARCHAR
SELECT n.pair_id FROM new n JOIN annotation_batch b USING (pair_id) WHERE b.iteration < $partition
