-- How often judges agree with people on the pairs that both judged, shown no gold and shown gold neighbours (spec 2.16),
-- vote by vote, of the answers that choose a side; by objectivity as people left it.
WITH votes AS (
    SELECT 'judges without examples' AS item, pair_id, judge, replicate, vote FROM unguided_votes WHERE status = 'ok'
    UNION ALL
    SELECT 'judges with gold neighbours', pair_id, judge, replicate, vote FROM gold_votes WHERE status = 'ok'
), shared AS (
    SELECT pair_id FROM unguided_votes WHERE status = 'ok' INTERSECT SELECT pair_id FROM gold_votes WHERE status = 'ok'
), judged AS (
    SELECT item, unnest(['all', objectivity]) AS figure, vote = verified_order AS hit
    FROM votes SEMI JOIN shared USING (pair_id) JOIN gold USING (pair_id)
    JOIN (SELECT pair_id, objectivity FROM stage1_attributes) USING (pair_id)
    WHERE vote IN ('original', 'swapped')
)
SELECT item, figure, (count(*) FILTER (hit))::DOUBLE AS hits, count(*) AS n FROM judged GROUP BY ALL ORDER BY ALL
