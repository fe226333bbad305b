-- Answers of people that could not be used, and how many there are in all.
-- $n BIGINT
SELECT iteration, place, coalesce(annotator, ''), reason, count(*) OVER ()
FROM refused_answers ORDER BY iteration, place, ref LIMIT $n
