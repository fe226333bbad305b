-- Scores of each arm over its seeds: how much of a difference between arms is the luck of one training (spec 6.10).
CREATE OR REPLACE VIEW benchmark_spread AS
    SELECT m.arm, benchmark, subset, metric, count(value) AS seeds, avg(value) AS mean, stddev_samp(value) AS sd,
        min(value) AS lowest, max(value) AS highest
    FROM benchmark_results r JOIN final_reward_model m ON r.arm = m.model
    GROUP BY ALL
