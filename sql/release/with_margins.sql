-- Training pairs with the reward that chosen must be ahead by: so much for each point by which it is ahead in the scores of
-- its source, where these are counted, and nothing where the order is not the source's own.
-- $sources VARCHAR[], $rewards DOUBLE[]
-- TABLE arm (pair_id VARCHAR, conversation STRUCT("role" VARCHAR, "content" VARCHAR)[], chosen VARCHAR, rejected VARCHAR, weight DOUBLE, target DOUBLE)
WITH counted AS (SELECT unnest($sources) AS source, unnest($rewards) AS reward)
SELECT arm.*, coalesce(CASE WHEN arm.chosen = p.chosen THEN r.ahead_by * c.reward END, 0.0) AS margin
FROM arm JOIN clean_pool p USING (pair_id) LEFT JOIN counted c ON c.source = p.source
LEFT JOIN raw_pool r ON c.source IS NOT NULL AND r.source = p.source AND r.row = p.row AND r.part = p.part
    AND r.pair_id = p.pair_id
