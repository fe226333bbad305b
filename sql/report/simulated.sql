-- Whether people and attributes were simulated.
SELECT (SELECT bool_or(simulated) FROM human_labels), (SELECT bool_or(simulated) FROM attributes)
