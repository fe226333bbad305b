-- Recorded winners as votes. `given`: answers by content; `known`: the pairs, with the hash of the chosen text.
-- TABLE given (comparison_id VARCHAR, annotator VARCHAR, winner VARCHAR, first VARCHAR)
-- TABLE known (pair_id VARCHAR, comparison_id VARCHAR, chosen_hash VARCHAR)
SELECT pair_id, annotator,
    CASE WHEN winner = '' THEN 'tie' WHEN winner = chosen_hash THEN 'original' ELSE 'swapped' END AS vote,
    CASE WHEN first = chosen_hash THEN 'chosen' ELSE 'rejected' END AS shown_first
FROM given JOIN known USING (comparison_id)
