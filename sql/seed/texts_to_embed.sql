-- What the vectors of a bucket are made of.
-- $bucket VARCHAR
SELECT pair_id, conversation, category, objectivity, controversiality, desired, guideline
FROM clean_pool p JOIN attributes USING (pair_id)
WHERE p.bucket = $bucket
ORDER BY pair_id
