-- $partition VARCHAR
SELECT pair_id FROM new JOIN contaminated c USING (pair_id) WHERE c.bucket = $partition
