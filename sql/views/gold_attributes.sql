-- Gold with its attributes as people left them; both retrievals and the examples of prompts use these. `vector` is that of
-- the text with them.
CREATE OR REPLACE VIEW gold_attributes AS
    SELECT g.pair_id, c.cluster_id, g.role, g.verified_order, g.iteration, a.category, a.objectivity, a.controversiality,
        a.desired, a.guideline, a.as_generated, a.edited_by, coalesce(a.edited_vector, v.vector) AS vector
    FROM gold g JOIN clean_pool c USING (pair_id) JOIN stage1_attributes a USING (pair_id) JOIN embeddings v USING (pair_id)
