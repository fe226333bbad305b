-- What the clean pool is about, as (figure, item, n): attributes as they were labelled, languages as the data card has them.
WITH about AS (SELECT category, objectivity, controversiality FROM clean_pool JOIN pair_attributes USING (pair_id))
SELECT figure, item, count(*) AS n
FROM (UNPIVOT about ON category, objectivity, controversiality INTO NAME figure VALUE item)
GROUP BY ALL
UNION ALL
SELECT figure, item, n FROM data_card WHERE source = '' AND figure = 'language'
ORDER BY figure, n DESC, item
