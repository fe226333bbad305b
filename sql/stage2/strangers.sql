-- Scores of other models than a rule was calibrated on.
-- $best_model VARCHAR, $gold_model VARCHAR
-- TABLE scores_to_decide LIKE scores
SELECT DISTINCT best_model, gold_model FROM scores_to_decide WHERE best_model <> $best_model OR gold_model <> $gold_model
