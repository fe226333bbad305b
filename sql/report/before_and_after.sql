-- The selected pairs (table picked) as they came and as the corrected release has them, by one of their properties.
-- $property VARCHAR
-- TABLE picked (pair_id VARCHAR, class VARCHAR, chosen_chars BIGINT, rejected_chars BIGINT, source VARCHAR, decided_by VARCHAR, category VARCHAR, objectivity VARCHAR, controversiality VARCHAR, risk VARCHAR)
WITH named AS (
    SELECT *, CASE $property WHEN 'source' THEN source WHEN 'category' THEN category WHEN 'objectivity' THEN objectivity
        WHEN 'controversiality' THEN controversiality WHEN 'risk' THEN risk ELSE decided_by END AS item
    FROM picked
)
SELECT item, count(*) AS before, count(*) FILTER (class IN ('keep', 'flip')) AS after,
    count(*) FILTER (class = 'keep') AS kept, count(*) FILTER (class = 'flip') AS flipped,
    count(*) FILTER (class = 'drop') AS dropped,
    avg((chosen_chars > rejected_chars)::INT) AS longer_before,
    avg(CASE class WHEN 'keep' THEN (chosen_chars > rejected_chars)::INT WHEN 'flip' THEN (chosen_chars < rejected_chars)::INT END)
        AS longer_after
FROM named GROUP BY item ORDER BY before DESC, item
