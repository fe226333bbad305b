-- What is known of a pair's attributes, whichever stage asked for them; stage 1, where people correct them, comes first.
CREATE OR REPLACE VIEW pair_attributes AS
    SELECT pair_id, category, objectivity, controversiality, desired, guideline FROM stage1_attributes
    UNION ALL
    SELECT pair_id, category, objectivity, controversiality, desired, guideline
    FROM stage2_attributes ANTI JOIN attributes USING (pair_id)
