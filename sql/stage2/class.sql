-- The pairs of a bucket that were kept, flipped or dropped; p_right is that of the order each has there.
-- $bucket VARCHAR, $class VARCHAR
SELECT pair_id, route, reason, CASE class WHEN 'flip' THEN 1 - p_right ELSE p_right END AS p_right
FROM decisions WHERE bucket = $bucket AND class = $class
