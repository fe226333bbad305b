-- Pairs that hold benchmark n-grams, with the first match of each (conversation before responses, then by position).
-- `hits` (conv_id, pair_id, gram, place, position) has one row a match in a conversation or in a pair's responses,
-- `grams` (gram, benchmark, item_id, rule, span) what they match, `pairs` the bucket.
WITH matches AS (
    SELECT p.pair_id, h.gram, h.place, h.position FROM hits h JOIN pairs p ON h.conv_id = p.conv_id
    UNION ALL
    SELECT pair_id, gram, place, position FROM hits WHERE pair_id IS NOT NULL
), frequency AS (
    SELECT gram, count(DISTINCT pair_id) AS pairs FROM matches GROUP BY gram
), firsts AS (
    SELECT pair_id, arg_min(gram, {'place': place, 'position': position, 'gram': gram}) AS gram,
        count(DISTINCT gram) AS n_matches
    FROM matches
    GROUP BY pair_id
)
SELECT f.pair_id, p.source, g.benchmark, g.item_id, g.rule, g.span, f.n_matches, q.pairs AS pool_frequency
FROM firsts f
JOIN pairs p USING (pair_id)
JOIN grams g USING (gram)
JOIN frequency q USING (gram);
