-- What a release is about, as (figure, item, n): attributes as they were labelled, or '' where nobody labelled them.
-- TABLE chosen_pairs (pair_id VARCHAR)
WITH about AS (
    SELECT coalesce(category, '') AS category, coalesce(objectivity, '') AS objectivity,
        coalesce(controversiality, '') AS controversiality
    FROM chosen_pairs LEFT JOIN pair_attributes USING (pair_id)
)
SELECT figure, item, count(*) AS n
FROM (UNPIVOT about ON category, objectivity, controversiality INTO NAME figure VALUE item)
GROUP BY ALL ORDER BY figure, n DESC, item
