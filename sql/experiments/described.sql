-- What the pairs of a training set look like, in the order that they are trained in. Lengths are characters; bins are
-- eighths of a doubling, and sort by name. `margin` is the best reward model's, chosen less rejected; its size says how far
-- apart the two responses are, whichever is called better. `kinds` are what sets are matched by, from the finest to the
-- source alone: source, topic, eighth of a doubling, quarter of a logit; coarser bins; without the topic; without the length.
-- TABLE orders (pair_id VARCHAR, verified_order VARCHAR, weight DOUBLE, target DOUBLE)
-- TABLE topics (pair_id VARCHAR, topic VARCHAR)
WITH marked AS (
    SELECT o.*, p.source, coalesce(t.topic, '') AS topic, a.category, a.objectivity, a.controversiality,
        length(p.chosen) + length(p.rejected) AS length,
        (length(p.chosen) - length(p.rejected)) * CASE WHEN o.verified_order = 'original' THEN 1 ELSE -1 END AS longer,
        (s.r_chosen_best - s.r_rejected_best) * CASE WHEN o.verified_order = 'original' THEN 1 ELSE -1 END AS margin
    FROM orders o JOIN clean_pool p USING (pair_id) LEFT JOIN scores s USING (pair_id) LEFT JOIN topics t USING (pair_id)
    LEFT JOIN pair_attributes a USING (pair_id)
), sized AS (
    SELECT *, abs(margin) AS margin_size, 8 * log2(1 + length) AS doublings,
        coalesce(least(floor(4 * abs(margin)), 40), -1) AS apart
    FROM marked
)
SELECT * EXCLUDE (doublings, apart),
    lpad(round(doublings)::BIGINT::VARCHAR, 3, '0') AS length_bin,
    lpad((500 + round(4 * sign(longer) * log2(1 + abs(longer)))::BIGINT)::VARCHAR, 3, '0') AS longer_bin,
    lpad((1 + apart)::BIGINT::VARCHAR, 3, '0') AS margin_bin,
    [
        concat_ws(chr(31), source, topic, round(doublings), apart),
        concat_ws(chr(31), source, topic, floor(round(doublings) / 4), floor(apart / 2)),
        concat_ws(chr(31), source, floor(round(doublings) / 4), floor(apart / 2)),
        concat_ws(chr(31), source, floor(apart / 2)),
        source
    ] AS kinds
FROM sized
