SELECT benchmark, item_id FROM new ANTI JOIN benchmark_prompts USING (benchmark, item_id)
