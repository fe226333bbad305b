-- $partition VARCHAR
SELECT cluster_id FROM new WHERE cluster_id IN (SELECT cluster_id FROM gold WHERE iteration <= $partition)
