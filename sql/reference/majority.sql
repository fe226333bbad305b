-- The winner of each comparison by the votes of people (comparison_id, winner, topic): '' where two have as many.
-- TABLE votes (comparison_id VARCHAR, winner VARCHAR, topic VARCHAR)
WITH counted AS (
    SELECT comparison_id, winner, count(*) AS n, min(topic) AS topic FROM votes GROUP BY comparison_id, winner
), ranked AS (
    SELECT *, max(n) OVER same AS best, sum(n) OVER same AS voters
    FROM counted WINDOW same AS (PARTITION BY comparison_id)
)
SELECT comparison_id, CASE WHEN count(*) = 1 THEN min(winner) ELSE '' END AS winner, 'people' AS origin,
    min(topic) AS topic, max(best / voters)::DOUBLE AS gap
FROM ranked WHERE n = best GROUP BY comparison_id
