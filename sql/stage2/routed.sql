-- Pairs for whom the judges can change the class (spec 4, invariant 3), with how many examples they are shown: none under
-- the policy that does without people.
-- $bucket VARCHAR, $policy VARCHAR, $threshold DOUBLE, $band DOUBLE, $k_max BIGINT
SELECT pair_id, p_best, CASE WHEN $policy = 'no_human' THEN 0 ELSE k_for(p_best, $k_max) END AS k
FROM scores
WHERE bucket = $bucket
    AND stage2_asked($policy, stage2_vote(p_best, $threshold, $band), stage2_vote(p_gold, 0.5, 0.0))
