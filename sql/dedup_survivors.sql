-- Which record of each distinct pair stays (spec 0.07): the first by iteration in which it joined, source priority,
-- source, row and part, so that neither input order nor the number of buckets matters and what joins later moves nobody
-- (spec 0.05). Of the same responses in both orders, those are in conflict that did not join before the others.
WITH records AS (
    SELECT comparison_id, pair_id,
        {'joined': joined, 'priority': priority, 'source': source, 'row': row, 'part': part} AS place
    FROM raw_pool
    WHERE comparison_id >= $low AND comparison_id < $high
), pairs AS (
    SELECT pair_id, any_value(comparison_id) AS comparison_id, min(place) AS kept, count(*) AS copies,
        list_sort(list_distinct(list(place.source))) AS sources
    FROM records
    GROUP BY pair_id
)
SELECT pair_id, comparison_id, kept.source AS source, kept.row AS row, kept.part AS part, copies,
    list_filter(sources, lambda s: s <> kept.source) AS also_in,
    count(*) OVER (PARTITION BY comparison_id) > 1
        AND kept.joined >= max(kept.joined) OVER (PARTITION BY comparison_id) AS conflict
FROM pairs;
