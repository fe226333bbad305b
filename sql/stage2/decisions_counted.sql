-- How many pairs each reason decided.
-- TABLE decided LIKE decisions
SELECT class || ': ' || reason AS reason, count(*) AS pairs FROM decided GROUP BY 1 ORDER BY 1
