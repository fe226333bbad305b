-- The different responses of a bucket, short ones first, so that neighbours are of similar length.
-- $bucket VARCHAR
WITH responses AS (SELECT unnest([chosen, rejected]) AS response FROM clean_pool p WHERE p.bucket = $bucket)
SELECT DISTINCT md5(response) AS text, response FROM responses
ORDER BY length(response), text
