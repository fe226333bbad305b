-- The prompts of some benchmarks.
-- $names VARCHAR[]
SELECT benchmark, item_id, prompt FROM benchmark_prompts WHERE benchmark IN $names
