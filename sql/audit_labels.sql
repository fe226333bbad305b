-- What most people said of each audited pair: whether the original order is right. Where no majority can tell there is
-- no row, and the bound does not speak of such pairs.
WITH votes AS (
    SELECT pair_id, count(*) AS votes,
        count(*) FILTER ((verdict = 'first') = (shown_first = 'chosen') AND verdict <> 'undecided') AS votes_original,
        count(*) FILTER ((verdict = 'first') <> (shown_first = 'chosen') AND verdict <> 'undecided') AS votes_swapped
    FROM audit GROUP BY pair_id
)
SELECT pair_id, votes_original > votes_swapped AS right
FROM votes
WHERE greatest(votes_original, votes_swapped) * 2 > votes
ORDER BY pair_id
