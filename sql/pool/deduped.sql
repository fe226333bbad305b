-- Which record of each distinct pair stays (spec 0.07): the first by iteration in which it joined, source priority,
-- source, row and part, so that neither input order nor the number of buckets matters and what joins later moves nobody
-- (spec 0.05). Of the same responses in both orders, those are in conflict that did not join before the others.
-- No text is read: equal ids are equal texts.
-- $low VARCHAR, $high VARCHAR
WITH ranked AS (
    SELECT pair_id, conv_id, comparison_id, source, label_origin, stage, joined, row, part, n_chars,
        row_number() OVER (PARTITION BY pair_id ORDER BY joined, priority, source, row, part) AS place,
        count(*) OVER (PARTITION BY pair_id) AS copies
    FROM raw_pool
    WHERE comparison_id >= $low AND comparison_id < $high
), repeated AS (
    SELECT pair_id, list_sort(list_distinct(list(source))) AS sources FROM ranked WHERE copies > 1 GROUP BY pair_id
)
SELECT r.* EXCLUDE (place), list_filter(coalesce(sources, []), lambda s: s <> source) AS also_in,
    count(*) OVER (PARTITION BY comparison_id) > 1
        AND joined >= max(joined) OVER (PARTITION BY comparison_id) AS conflict
FROM ranked r
LEFT JOIN repeated USING (pair_id)
WHERE place = 1
