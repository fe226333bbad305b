-- How many pairs each round after the seed asks people about.
SELECT iteration, count(*) FILTER (assigned_to = 'people') AS pairs
FROM annotation_batch WHERE iteration > 'iter_00' GROUP BY iteration ORDER BY iteration
