-- The gold pairs whose labels calibrate, in the original order.
-- TABLE labels AS stage2/calibration_gold
SELECT pair_id, conversation, chosen, rejected, 1.0::DOUBLE AS weight FROM labels JOIN clean_pool USING (pair_id)
