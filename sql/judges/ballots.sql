-- Votes as cells of a matrix: a row a pair, two columns a judge (its two orders), the sign of the sum of the votes.
-- TABLE votes LIKE judge_votes
SELECT dense_rank() OVER (ORDER BY pair_id) - 1 AS row,
    2 * (dense_rank() OVER (ORDER BY judge) - 1) + (shown_first = 'rejected')::BIGINT AS col, sign(lean) AS lean
FROM (
    SELECT pair_id, judge, shown_first, sum(CASE WHEN status <> 'ok' THEN 0 WHEN vote = 'original' THEN 1
        WHEN vote = 'swapped' THEN -1 ELSE 0 END) AS lean
    FROM votes GROUP BY ALL
)
