-- Every distinct pair with its texts, those of the record that stayed.
CREATE OR REPLACE VIEW deduped_pairs AS
    SELECT d.*, p.conversation, p.chosen, p.rejected
    FROM deduped d JOIN raw_pool p USING (comparison_id, pair_id, source, row, part)
