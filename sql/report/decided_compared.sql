-- Decisions made again beside the lake's: pairs in both, in the same class, by the same rule.
-- TABLE decided LIKE decisions
SELECT count(*) AS shared, count(*) FILTER (d.class = l.class) AS alike, count(*) FILTER (d.rule = l.rule) AS by_it
FROM decided d JOIN decisions l USING (pair_id)
