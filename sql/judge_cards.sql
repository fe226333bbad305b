-- A report card a judge and stratum. `votes`: rows of judge_votes; `known`: pair_id, "order" (what people decided),
-- stratum, chosen_chars, rejected_chars. The stratum 'all' covers every pair. Each figure is hits among n; shares of
-- nothing have n = 0.
WITH v AS (
    SELECT votes.*, k."order", k.chosen_chars, k.rejected_chars, s.name AS stratum
    FROM votes JOIN known k USING (pair_id), unnest(['all', k.stratum]) AS s(name)
    WHERE votes.status <> 'not_recorded'
),
decided AS (
    SELECT *,
        (answer = 'candidate_1') AS first,
        CASE vote WHEN 'original' THEN chosen_chars - rejected_chars ELSE rejected_chars - chosen_chars END AS longer_by
    FROM v WHERE status = 'ok' AND vote IN ('original', 'swapped')
),
-- one line a pair and order shown: the majority of the replicates that saw it so; split ones decide nothing
by_order AS (
    SELECT judge, stratum, pair_id, shown_first,
        sum(CASE vote WHEN 'original' THEN 1 ELSE -1 END) AS lean,
        count(*) AS n,
        max(greatest(o, n_votes - o)) AS same
    FROM (SELECT *, count(*) FILTER (vote = 'original') OVER w AS o, count(*) OVER w AS n_votes
          FROM decided WINDOW w AS (PARTITION BY judge, stratum, pair_id, shown_first))
    GROUP BY ALL
),
two_orders AS (
    SELECT judge, stratum, pair_id, min(sign(lean)) <> max(sign(lean)) AS flipped
    FROM by_order WHERE lean <> 0
    GROUP BY judge, stratum, pair_id HAVING count(*) = 2
)
SELECT judge, stratum, 'agrees_with_people' AS figure, count(*) FILTER (vote = "order") AS hits, count(*) AS n
FROM decided GROUP BY ALL
UNION ALL BY NAME
SELECT judge, stratum, 'prefers_first' AS figure, count(*) FILTER (first) AS hits, count(*) AS n FROM decided GROUP BY ALL
UNION ALL BY NAME
SELECT judge, stratum, 'prefers_longer' AS figure, count(*) FILTER (longer_by > 0) AS hits,
    count(*) FILTER (longer_by <> 0) AS n FROM decided GROUP BY ALL
UNION ALL BY NAME
SELECT judge, stratum, 'flips_with_order' AS figure, count(*) FILTER (flipped) AS hits, count(*) AS n FROM two_orders GROUP BY ALL
UNION ALL BY NAME
SELECT judge, stratum, 'repeats_itself' AS figure, sum(same)::BIGINT AS hits, sum(n)::BIGINT AS n
FROM by_order WHERE n > 1 GROUP BY ALL
UNION ALL BY NAME
SELECT judge, stratum, 'decides' AS figure,
    count(*) FILTER (status = 'ok' AND vote IN ('original', 'swapped')) AS hits, count(*) AS n FROM v GROUP BY ALL
UNION ALL BY NAME
SELECT judge, stratum, 'refuses' AS figure, count(*) FILTER (status = 'refused') AS hits, count(*) AS n FROM v GROUP BY ALL
ORDER BY judge, stratum, figure
