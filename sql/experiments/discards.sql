-- Of the pairs of every source and attribute that stage 2 decided, how many were dropped, and for which reason (spec 8.15).
WITH decided AS (
    SELECT d.class, d.reason, p.source, coalesce(a.category, 'not labelled') AS category,
        coalesce(a.objectivity, 'not labelled') AS objectivity,
        coalesce(a.controversiality, 'not labelled') AS controversiality
    FROM decisions d JOIN clean_pool p USING (pair_id) LEFT JOIN pair_attributes a USING (pair_id)
), grouped AS (
    SELECT class, reason,
        unnest(['all', 'source: ' || source, 'category: ' || category, 'objectivity: ' || objectivity,
            'controversiality: ' || controversiality]) AS item
    FROM decided
), sizes AS (SELECT item, count(*) AS n FROM grouped GROUP BY item)
SELECT item, 'dropped' AS figure, (count(*) FILTER (class = 'drop'))::DOUBLE AS hits, count(*) AS n
FROM grouped GROUP BY item
UNION ALL
SELECT item, 'dropped: ' || reason, count(*)::DOUBLE, n FROM grouped JOIN sizes USING (item)
WHERE class = 'drop' GROUP BY item, reason, n
ORDER BY ALL
