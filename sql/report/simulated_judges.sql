-- The judges whose votes were simulated.
SELECT judge FROM judge_votes WHERE simulated UNION SELECT judge FROM stage2_votes WHERE simulated ORDER BY 1
