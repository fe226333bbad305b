-- The panel's verdict a pair (spec 3.10). `votes`: pair_id, judge, shown_first, vote, status. First the majority within
-- each judge over its replicates, then one voice a judge, so that a judge with many samples cannot outvote the others.
-- A vote of 'none' (no answer, or "cannot determine") abstains. A majority is more than half of the rest, ties counted:
-- 3 original, 2 swapped and 2 tie of seven voices are none. Whatever has no majority is a tie. With $weighted, the sum of the judges' log odds (`weights`: judge, shown_first, method, for_original,
-- for_swapped) decides instead, where it makes a side likelier than $sure; a judge counts once for each order it saw.
-- $quorum BIGINT, $weighted BOOLEAN, $sure DOUBLE
-- TABLE votes LIKE judge_votes
-- TABLE weights LIKE judge_weights
WITH counted AS (
    SELECT
        pair_id,
        judge,
        count(*) FILTER (status = 'ok' AND vote = 'original') AS o,
        count(*) FILTER (status = 'ok' AND vote = 'swapped') AS s,
        count(*) FILTER (status = 'ok' AND vote = 'tie') AS t
    FROM votes
    GROUP BY pair_id, judge
),
voices AS (
    SELECT
        pair_id,
        judge,
        CASE
            WHEN o + s + t = 0 THEN NULL
            WHEN o > s + t THEN 'original'
            WHEN s > o + t THEN 'swapped'
            ELSE 'tie'
        END AS voice
    FROM counted
),
panel AS (
    SELECT
        pair_id,
        count(voice) AS voices,
        count(*) FILTER (voice = 'original') AS o,
        count(*) FILTER (voice = 'swapped') AS s,
        count(*) FILTER (voice = 'tie') AS t,
        CAST(to_json(map_from_entries(list({'k': judge, 'v': voice} ORDER BY judge) FILTER (voice IS NOT NULL)))
            AS VARCHAR) AS votes
    FROM voices
    GROUP BY pair_id
),
leans AS (
    SELECT pair_id, judge, shown_first,
        count(*) FILTER (vote = 'original') - count(*) FILTER (vote = 'swapped') AS lean
    FROM votes WHERE status = 'ok' GROUP BY ALL
),
odds AS (
    -- in one order, so that equal votes give equal sums to the last bit
    SELECT pair_id, sum(
        CASE WHEN lean > 0 THEN for_original WHEN lean < 0 THEN for_swapped ELSE 0 END ORDER BY judge, shown_first
    ) AS log_odds
    FROM leans JOIN weights USING (judge, shown_first)
    GROUP BY pair_id
),
weighed AS (
    SELECT panel.*, sigmoid(round(coalesce(log_odds, 0), 9)) AS p FROM panel LEFT JOIN odds USING (pair_id)
),
decided AS (
    SELECT *,
        CASE
            WHEN voices < $quorum THEN 'undecided'
            WHEN $weighted THEN
                CASE WHEN p > $sure THEN 'original' WHEN 1 - p > $sure THEN 'swapped' ELSE 'undecided' END
            WHEN o > s + t THEN 'original'
            WHEN s > o + t THEN 'swapped'
            ELSE 'undecided'
        END AS verdict
    FROM weighed
)
SELECT
    pair_id,
    verdict,
    CASE
        WHEN voices = 0 THEN 0.0
        WHEN verdict = 'original' THEN o / voices
        WHEN verdict = 'swapped' THEN s / voices
        ELSE t / voices
    END AS share,
    CASE WHEN $weighted THEN p END AS p,
    voices,
    coalesce(votes, '{}') AS votes,
    CASE
        WHEN voices < $quorum THEN 'no_quorum'
        WHEN verdict = 'undecided' THEN CASE WHEN $weighted THEN 'unsure' ELSE 'tie' END
        WHEN $weighted THEN (SELECT any_value(method) FROM weights)
        ELSE 'majority'
    END AS reason
FROM decided
ORDER BY pair_id
