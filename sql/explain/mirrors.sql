-- The records with the same responses under the opposite label.
-- $comparison VARCHAR, $pair VARCHAR
SELECT DISTINCT pair_id, source, row FROM raw_pool WHERE comparison_id = $comparison AND pair_id <> $pair ORDER BY ALL
