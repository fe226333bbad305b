-- The candidates that may be handed over.
-- TABLE candidates (pair_id VARCHAR, source VARCHAR, flipped BOOLEAN, label_source VARCHAR, rule VARCHAR, weight DOUBLE, p_right DOUBLE, risk VARCHAR)
-- TABLE barred (source VARCHAR, barred VARCHAR)
SELECT c.* FROM candidates c JOIN barred b USING (source) WHERE b.barred IS NULL
