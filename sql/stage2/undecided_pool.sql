-- Pairs of one bucket that stage 1 neither labelled nor found undecidable.
-- $bucket VARCHAR
SELECT pair_id, conversation, chosen, rejected FROM clean_pool
WHERE bucket = $bucket
    AND pair_id NOT IN (SELECT pair_id FROM verified) AND pair_id NOT IN (SELECT pair_id FROM undecided)
