SELECT pair_id FROM new JOIN clean_pool USING (pair_id)
WHERE cluster_id IN (SELECT cluster_id FROM held_out_clusters)
