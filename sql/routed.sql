-- Pairs for whom the judges can change the class (spec 4, invariant 3), with the examples they are shown: none
-- under the policy that does without people.
SELECT pair_id, p_best, CASE WHEN '{policy}' = 'no_human' THEN 0 WHEN p_best <= 0.5 THEN {k_max} ELSE ceil({k_max} * (1 - p_best)) END::BIGINT AS k
FROM scores
WHERE bucket = '{bucket}'
    AND stage2_asked('{policy}', stage2_vote(p_best, {threshold}, {band}), stage2_vote(p_gold, 0.5, 0.0))
