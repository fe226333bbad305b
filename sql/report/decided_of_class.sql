-- The pairs of a class, of decisions made again.
-- $class VARCHAR
-- TABLE decided LIKE decisions
SELECT pair_id FROM decided WHERE class = $class ORDER BY 1
