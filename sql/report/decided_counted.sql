-- Decisions made again, by class and reason.
-- TABLE decided LIKE decisions
SELECT class, reason, count(*) AS pairs FROM decided GROUP BY ALL ORDER BY 1, 3 DESC, 2
