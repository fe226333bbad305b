-- $partition VARCHAR
SELECT cluster_id
FROM (SELECT cluster_id, role FROM new UNION SELECT cluster_id, role FROM gold WHERE iteration < $partition)
GROUP BY 1 HAVING count(*) > 1
