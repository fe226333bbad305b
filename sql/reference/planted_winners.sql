-- The pairs of the generated pool of which one response is better, with the hash of that one.
SELECT pair_id, chosen, winner FROM clean_pool JOIN planted_labels USING (comparison_id) WHERE winner <> ''
