-- A report card a judge and stratum. `votes`: rows of judge_votes; `known`: pair_id, verified_order (what people decided, null
-- where nobody did), strata, chosen_chars, rejected_chars; `people`: pair_id, annotator, vote. The stratum 'all' covers
-- every pair. Each figure is hits among n; hh, hn and nn are sums of products by pair, from which the interval takes how
-- much the votes on one pair go together.
-- TABLE votes LIKE judge_votes
-- TABLE known (pair_id VARCHAR, verified_order VARCHAR, strata VARCHAR[], chosen_chars BIGINT, rejected_chars BIGINT)
-- TABLE people (pair_id VARCHAR, annotator VARCHAR, vote VARCHAR)
WITH k AS (
    SELECT known.*, s.name AS stratum FROM known, unnest(list_concat(['all'], strata)) AS s(name)
),
v AS (
    SELECT votes.*, k.verified_order, k.chosen_chars, k.rejected_chars, k.stratum FROM votes JOIN k USING (pair_id)
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
    SELECT judge, stratum, pair_id, shown_first, count(*) FILTER (vote = 'original') AS o,
        count(*) FILTER (vote = 'swapped') AS s
    FROM decided GROUP BY ALL
),
two_orders AS (
    SELECT judge, stratum, pair_id, min(sign(o - s)) <> max(sign(o - s)) AS flipped
    FROM by_order WHERE o <> s
    GROUP BY judge, stratum, pair_id HAVING count(*) = 2
),
two_people AS (
    SELECT stratum, k.pair_id, a.vote = b.vote AS agree
    FROM people a JOIN people b ON a.pair_id = b.pair_id AND a.annotator < b.annotator
    JOIN k ON k.pair_id = a.pair_id
),
by_pair AS (
    SELECT judge, stratum, 'agrees_with_people' AS figure, pair_id, count(*) FILTER (vote = verified_order) AS h, count(*) AS n
    FROM decided WHERE verified_order IS NOT NULL GROUP BY ALL
    UNION ALL BY NAME
    SELECT 'people' AS judge, stratum, 'agrees_with_people' AS figure, pair_id, count(*) FILTER (agree) AS h, count(*) AS n
    FROM two_people GROUP BY ALL
    UNION ALL BY NAME
    -- on the same pairs as people's agreement with each other, so that the two compare
    SELECT judge, stratum, 'agrees_with_one_person' AS figure, pair_id, count(*) FILTER (d.vote = p.vote) AS h,
        count(*) AS n
    FROM decided d JOIN people p USING (pair_id) WHERE pair_id IN (SELECT pair_id FROM two_people) GROUP BY ALL
    UNION ALL BY NAME
    SELECT judge, stratum, 'prefers_first' AS figure, pair_id, count(*) FILTER (first) AS h, count(*) AS n
    FROM decided GROUP BY ALL
    UNION ALL BY NAME
    SELECT judge, stratum, 'prefers_longer' AS figure, pair_id, count(*) FILTER (longer_by > 0) AS h, count(*) AS n
    FROM decided WHERE longer_by <> 0 GROUP BY ALL
    UNION ALL BY NAME
    SELECT judge, stratum, 'flips_with_order' AS figure, pair_id, count(*) FILTER (flipped) AS h, count(*) AS n
    FROM two_orders GROUP BY ALL
    UNION ALL BY NAME
    -- pairs of replicates that saw the same order
    SELECT judge, stratum, 'repeats_itself' AS figure, pair_id, sum(o * (o - 1) + s * (s - 1))::BIGINT // 2 AS h,
        sum((o + s) * (o + s - 1))::BIGINT // 2 AS n
    FROM by_order WHERE o + s > 1 GROUP BY ALL
    UNION ALL BY NAME
    SELECT judge, stratum, 'decides' AS figure, pair_id,
        count(*) FILTER (status = 'ok' AND vote IN ('original', 'swapped')) AS h, count(*) AS n
    FROM v GROUP BY ALL
    UNION ALL BY NAME
    SELECT judge, stratum, 'refuses' AS figure, pair_id, count(*) FILTER (status = 'refused') AS h, count(*) AS n
    FROM v GROUP BY ALL
)
SELECT judge, stratum, figure, sum(h)::BIGINT AS hits, sum(n)::BIGINT AS n, count(*) AS pairs,
    sum(h * h)::BIGINT AS hh, sum(h * n)::BIGINT AS hn, sum(n * n)::BIGINT AS nn
FROM by_pair GROUP BY judge, stratum, figure ORDER BY judge, stratum, figure
