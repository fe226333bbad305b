-- Whom flips contradict, and whether they change how often the better response is the longer one, or the one with more
-- Markdown (spec 8.13): of what stage 2 keeps and flips, before and after.
WITH marked AS (
    SELECT pair_id, label_origin, class, length(chosen) - length(rejected) AS longer,
        len(regexp_extract_all(chosen, '\*\*|^#|^[-*] |^\d+\. |```|\|', 0, 'm'))
            - len(regexp_extract_all(rejected, '\*\*|^#|^[-*] |^\d+\. |```|\|', 0, 'm')) AS marks
    FROM decisions JOIN clean_pool USING (pair_id)
), groups AS (
    SELECT 'kept and flipped, as they came' AS item, longer, marks FROM marked WHERE class IN ('keep', 'flip')
    UNION ALL
    SELECT 'kept and flipped, after', CASE class WHEN 'flip' THEN -longer ELSE longer END,
        CASE class WHEN 'flip' THEN -marks ELSE marks END FROM marked WHERE class IN ('keep', 'flip')
    UNION ALL SELECT 'flipped, as they came', longer, marks FROM marked WHERE class = 'flip'
    UNION ALL SELECT 'dropped, as they came', longer, marks FROM marked WHERE class = 'drop'
)
SELECT label_origin || ' labels' AS item, 'flipped' AS figure, (count(*) FILTER (class = 'flip'))::DOUBLE AS hits,
    count(*) AS n
FROM marked GROUP BY label_origin
UNION ALL
SELECT item, 'prefers the longer', count(*) FILTER (longer > 0), count(*) FILTER (longer <> 0) FROM groups GROUP BY item
UNION ALL
SELECT item, 'prefers more Markdown', count(*) FILTER (marks > 0), count(*) FILTER (marks <> 0) FROM groups GROUP BY item
ORDER BY ALL
