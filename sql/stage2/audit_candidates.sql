-- The pairs that an audit may draw from: what stage 2 scored, by what it would do; conversations of test gold stay unread.
-- $policy VARCHAR
-- TABLE proposed LIKE decisions
SELECT pair_id, comparison_id, stratum_of(b, g) AS stratum, class, stage2_asked($policy, b, g) AS asked
FROM proposed JOIN clean_pool USING (pair_id)
WHERE (b <> '' AND g <> '' OR class = 'flip') AND cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
