-- Attributes of pairs that stage 1 may label as people left them (spec 1.07), beside those that were generated.
CREATE OR REPLACE VIEW stage1_attributes AS
    SELECT pair_id,
        coalesce(e.category, a.category) AS category,
        coalesce(e.objectivity, a.objectivity) AS objectivity,
        coalesce(e.controversiality, a.controversiality) AS controversiality,
        coalesce(e.desired, a.desired) AS desired,
        coalesce(e.guideline, a.guideline) AS guideline,
        {category: a.category, objectivity: a.objectivity, controversiality: a.controversiality, desired: a.desired,
            guideline: a.guideline} AS as_generated,
        coalesce(e.edited_by, []) AS edited_by, e.vector AS edited_vector
    FROM attributes a LEFT JOIN edited_attributes e USING (pair_id)
