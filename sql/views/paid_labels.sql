-- Every label somebody was or would be paid for, one row each. A call that serves several pairs (a pair and its swap can
-- ask the same) or several steps is charged once.
CREATE OR REPLACE VIEW paid_labels AS
    WITH votes AS (
        SELECT pair_id, judge, model, iteration AS stage, replicate, status, request_key, cost_micros, simulated
        FROM judge_votes
        UNION ALL
        SELECT pair_id, judge, model, iteration || ', measured on gold', replicate, status, request_key, cost_micros, simulated
        FROM gold_votes
        UNION ALL
        SELECT pair_id, judge, model, iteration || ', responses checked', 0, status, request_key, cost_micros, simulated
        FROM response_checks
        UNION ALL
        SELECT pair_id, judge, model, 'stage2', replicate, status, request_key, cost_micros, simulated FROM stage2_votes
    ), described AS (
        SELECT 1 AS place, 'before stage 1' AS stage, pair_id, labeller, prompt_version, cost_micros, simulated FROM attributes
        UNION ALL
        SELECT 2, 'audit', pair_id, labeller, prompt_version, cost_micros, simulated FROM audit_attributes
        UNION ALL
        SELECT 3, 'stage2', pair_id, labeller, prompt_version, cost_micros, simulated FROM stage2_attributes
    )
    SELECT pair_id, 'people' AS who, iteration AS stage, backend AS model, true AS is_label, cost_micros, simulated
    FROM human_labels
    UNION ALL
    SELECT pair_id, 'people', 'stage2', backend, true, cost_micros, simulated FROM audit
    UNION ALL
    SELECT pair_id, 'attributes', d.stage, labeller, labeller <> '',
        CASE WHEN 1 = row_number() OVER (PARTITION BY comparison_id, labeller, prompt_version ORDER BY place, pair_id)
            THEN cost_micros ELSE 0 END, simulated
    FROM described d JOIN clean_pool USING (pair_id)
    UNION ALL
    SELECT pair_id, judge, stage, model, status = 'ok',
        CASE WHEN request_key = '' OR 1 = row_number() OVER (
            PARTITION BY request_key ORDER BY stage, pair_id, replicate) THEN cost_micros ELSE 0 END,
        simulated
    FROM votes
