-- Of the pairs `wide` that are not `taken`, as many as `aim` still lacks of each kind, drawn by hash (spec 8.09). A pair is of a
-- kind at every level; $level 1 is the finest, and a kind of one level lies whole in one of the next.
-- $seed VARCHAR, $level BIGINT
-- TABLE wide (pair_id VARCHAR, verified_order VARCHAR, weight DOUBLE, target DOUBLE, kinds VARCHAR[])
-- TABLE aim (pair_id VARCHAR, verified_order VARCHAR, weight DOUBLE, target DOUBLE, kinds VARCHAR[])
-- TABLE taken (pair_id VARCHAR, verified_order VARCHAR, weight DOUBLE, target DOUBLE, kinds VARCHAR[])
WITH wanted AS (SELECT kinds[$level] AS kind, count(*) AS n FROM aim GROUP BY kind),
had AS (SELECT kinds[$level] AS kind, count(*) AS n FROM taken GROUP BY kind),
lacking AS (SELECT kind, wanted.n - coalesce(had.n, 0) AS n FROM wanted LEFT JOIN had USING (kind)),
ranked AS (
    SELECT *, kinds[$level] AS kind,
        row_number() OVER (PARTITION BY kinds[$level] ORDER BY draw(pair_id, 'matched ' || $seed)) AS place
    FROM wide ANTI JOIN taken USING (pair_id)
)
SELECT pair_id, verified_order, weight, target, kinds FROM ranked JOIN lacking USING (kind) WHERE place <= n
