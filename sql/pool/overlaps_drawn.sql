-- So many overlaps of each length, drawn by hash, with the pair's texts and the benchmark's prompt.
-- $flags BIGINT, $seed VARCHAR
WITH drawn AS (
    SELECT * FROM benchmark_overlaps QUALIFY row_number() OVER (PARTITION BY n ORDER BY draw(pair_id || benchmark, $seed), pair_id) <= $flags
)
SELECT o.pair_id, o.benchmark, o.n, o.span, b.prompt, p.conversation, p.chosen, p.rejected
FROM drawn o JOIN deduped d USING (pair_id) JOIN raw_pool p USING (comparison_id, pair_id, source, row, part)
JOIN benchmark_prompts b USING (benchmark, item_id)
ORDER BY o.pair_id, o.benchmark
