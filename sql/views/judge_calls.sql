CREATE OR REPLACE VIEW judge_calls AS FROM judge_calls_in('*') ORDER BY policy, band
