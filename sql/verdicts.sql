-- The panel's verdict a pair (spec 3.10). `votes`: pair_id, judge, vote, status. First the majority within each judge
-- over its replicates, then one voice a judge, so that a judge with many samples cannot outvote the others. A vote of
-- 'none' (no answer, or "cannot determine") abstains. Whatever is not a strict majority over the rest is a tie.
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
            WHEN o > s AND o > t THEN 'original'
            WHEN s > o AND s > t THEN 'swapped'
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
)
SELECT
    pair_id,
    CASE
        WHEN voices < $quorum THEN 'undecided'
        WHEN o > s AND o > t THEN 'original'
        WHEN s > o AND s > t THEN 'swapped'
        ELSE 'undecided'
    END AS verdict,
    CASE
        WHEN voices = 0 THEN 0.0
        WHEN o > s AND o > t AND voices >= $quorum THEN o / voices
        WHEN s > o AND s > t AND voices >= $quorum THEN s / voices
        ELSE t / voices
    END AS share,
    voices,
    coalesce(votes, '{}') AS votes,
    CASE
        WHEN voices < $quorum THEN 'no_quorum'
        WHEN (o > s AND o > t) OR (s > o AND s > t) THEN 'majority'
        ELSE 'tie'
    END AS reason
FROM panel
ORDER BY pair_id
