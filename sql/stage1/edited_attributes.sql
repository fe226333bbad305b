-- Attributes of one iteration's gold pairs that somebody corrected. A field is what most of those who corrected it wrote
-- (the first in the alphabet where they are equally many), and as generated where nobody did.
-- $iteration VARCHAR
WITH said AS (
    SELECT pair_id, annotator, edit.field, edit.value FROM human_labels, LATERAL (SELECT unnest([
        {field: 'category', value: category}, {field: 'objectivity', value: objectivity},
        {field: 'controversiality', value: controversiality}, {field: 'desired', value: desired},
        {field: 'guideline', value: guideline}]) AS edit)
    WHERE iteration = $iteration AND edit.value IS NOT NULL
), agreed AS (
    SELECT pair_id, field, value FROM said GROUP BY pair_id, field, value
    QUALIFY row_number() OVER (PARTITION BY pair_id, field ORDER BY count(*) DESC, value) = 1
), edits AS (
    PIVOT agreed ON field IN ('category', 'objectivity', 'controversiality', 'desired', 'guideline')
    USING any_value(value) GROUP BY pair_id
)
SELECT pair_id, conversation, coalesce(e.category, a.category) AS category,
    coalesce(e.objectivity, a.objectivity) AS objectivity,
    coalesce(e.controversiality, a.controversiality) AS controversiality,
    coalesce(e.desired, a.desired) AS desired, coalesce(e.guideline, a.guideline) AS guideline, edited_by
FROM edits e JOIN attributes a USING (pair_id) JOIN clean_pool USING (pair_id)
JOIN (SELECT pair_id, list(DISTINCT annotator ORDER BY annotator) AS edited_by FROM said GROUP BY 1) USING (pair_id)
SEMI JOIN (SELECT pair_id FROM gold WHERE iteration = $iteration) g USING (pair_id)
ORDER BY pair_id
