-- The surviving records with their texts; `survivors` is the result of dedup_survivors.
SELECT p.pair_id, p.conv_id, p.comparison_id, p.conversation, p.chosen, p.rejected, p.source, p.label_origin, p.stage,
    p.joined, p.row, p.part, s.copies, s.also_in, s.conflict, p.n_chars
FROM raw_pool p
JOIN survivors s ON p.source = s.source AND p.row = s.row AND p.part = s.part AND p.pair_id = s.pair_id
WHERE p.comparison_id >= $low AND p.comparison_id < $high;
