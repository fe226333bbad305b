-- The votes that are heard: a judge that made a source's labels confirms its own errors, and is heard on pairs of that source
-- only where fewer than $quorum other judges have a voice. $judges and $sources are lists of the same length.
-- $judges VARCHAR[], $sources VARCHAR[], $quorum BIGINT
-- TABLE votes LIKE judge_votes
WITH made AS (
    SELECT unnest($judges::VARCHAR[]) AS judge, unnest($sources::VARCHAR[]) AS source
), told AS (
    SELECT v.pair_id, v.judge, v.replicate, v.shown_first, v.vote, v.status, m.source IS NOT NULL AS is_own
    FROM votes v JOIN clean_pool p USING (pair_id) LEFT JOIN made m ON m.judge = v.judge AND m.source = p.source
), others AS (
    SELECT pair_id, count(DISTINCT judge) AS voices FROM told
    WHERE NOT is_own AND status = 'ok' AND vote <> 'none' GROUP BY pair_id
)
SELECT told.* EXCLUDE (is_own) FROM told LEFT JOIN others USING (pair_id)
WHERE NOT is_own OR coalesce(voices, 0) < $quorum
