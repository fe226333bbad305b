-- Asked before, and not among what the batch before left unanswered.
-- $partition VARCHAR
SELECT n.pair_id, b.iteration FROM new n JOIN annotation_batch b USING (pair_id)
LEFT JOIN unanswered u USING (pair_id, iteration)
WHERE b.iteration < $partition AND (u.pair_id IS NULL OR n.assigned_to <> 'people')
