-- How many pairs each policy would ask the judges about, by band, from stored scores and before anybody is asked.
-- `best_first` is the paper's order: all that the best model does not confirm. `gold_first` leaves out what the gold model
-- has settled. The macro takes a pattern of buckets.
CREATE OR REPLACE MACRO judge_calls_in(buckets) AS TABLE
    WITH bands AS (
        SELECT unnest([0.0, 0.02, 0.05, 0.1, 0.2]) AS band UNION SELECT band FROM routing_rule
    ), histogram AS (
        SELECT band, stage2_vote(p_best, coalesce((SELECT threshold FROM routing_rule), 0.5), band) AS b,
            stage2_vote(p_gold, 0.5, 0.0) AS g, count(*) AS n
        FROM (SELECT p_best, p_gold FROM scores WHERE bucket GLOB buckets) CROSS JOIN bands
        WHERE coalesce(p_best, p_gold) IS NOT NULL GROUP BY ALL
    ), policies AS (
        SELECT unnest(['symmetric', 'flip_all', 'direct_retain', 'best_only', 'gold_only', 'both', 'no_human']) AS policy
    )
    SELECT policy, band, sum(n)::BIGINT AS scored,
        coalesce(sum(n) FILTER (b IN ('-', '0') AND policy NOT IN ('best_only', 'gold_only', 'both')), 0)::BIGINT AS best_first,
        coalesce(sum(n) FILTER (stage2_asked(policy, b, g)), 0)::BIGINT AS gold_first,
        best_first - gold_first AS saved
    FROM histogram CROSS JOIN policies GROUP BY policy, band
