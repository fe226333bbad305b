-- Every iteration's model on the final gold, since accuracies on a growing set do not compare; ties count half, and of
-- equally good models the later is the best (spec O-09). `scores_now` has r_chosen_<iteration> and r_rejected_<iteration>.
-- TABLE scores_now (pair_id VARCHAR, r_chosen_iter_00 DOUBLE, r_rejected_iter_00 DOUBLE, unscored_iter_00 VARCHAR)
WITH rewards AS (
    UNPIVOT scores_now ON COLUMNS('^r_(chosen|rejected)_') INTO NAME side VALUE reward
), margins AS (
    SELECT regexp_extract(side, '^r_(chosen|rejected)_(.*)$', 2) AS iteration, pair_id,
        sum(CASE WHEN side LIKE 'r_chosen_%' THEN reward ELSE -reward END) AS margin
    FROM rewards GROUP BY ALL HAVING count(*) = 2
)
SELECT iteration, any_value(model_id) AS model_id, any_value(path) AS path, count(margin) AS pairs,
    coalesce(sum(hit(margin))::DOUBLE / nullif(count(margin), 0), 0) AS accuracy,
    row_number() OVER (ORDER BY accuracy DESC, iteration DESC) = 1 AS best
FROM reward_model LEFT JOIN margins USING (iteration)
GROUP BY iteration
