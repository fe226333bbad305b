-- How often six filters of stage 2 are right when they keep and when they discard (spec 4.11, 8.12): the longer answer and
-- the loop's first model as baselines, both of them, the best model, the gold model, and both of these. Where the two of a
-- combination disagree, it says nothing.
-- TABLE truth AS report/truth
-- TABLE first_scores (pair_id VARCHAR, r_chosen_first DOUBLE, r_rejected_first DOUBLE)
WITH voted AS (
    SELECT pair_id,
        sign(length(chosen) - length(rejected)) AS longer, sign(r_chosen_first - r_rejected_first) AS first_one,
        sign(p_best - 0.5) AS best, sign(p_gold - 0.5) AS gold
    FROM decisions JOIN clean_pool USING (pair_id) JOIN scores USING (pair_id) LEFT JOIN first_scores USING (pair_id)
), filters AS (
    SELECT pair_id,
        unnest(['longer answer', 'first model', 'longer answer and first model', 'best', 'gold', 'best and gold']) AS item,
        unnest([
            longer, first_one, CASE WHEN longer = first_one THEN longer END, best, gold,
            CASE WHEN best = gold THEN best END
        ]) AS vote
    FROM voted
)
SELECT item, CASE WHEN vote > 0 THEN 'keep' ELSE 'discard' END AS figure,
    (count(*) FILTER (original_right = (vote > 0)))::DOUBLE AS hits, count(original_right) AS n
FROM filters JOIN truth USING (pair_id)
WHERE vote <> 0 GROUP BY ALL ORDER BY ALL
