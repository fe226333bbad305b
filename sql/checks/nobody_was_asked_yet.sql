-- $partition VARCHAR
SELECT pair_id FROM new WHERE pair_id IN (SELECT pair_id FROM annotation_batch WHERE iteration <= $partition)
