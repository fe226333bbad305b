-- $partition VARCHAR
SELECT cluster_id
FROM (
    SELECT cluster_id, assigned_to FROM new
    UNION SELECT cluster_id, assigned_to FROM annotation_batch WHERE iteration < $partition
) GROUP BY 1 HAVING count(*) > 1
