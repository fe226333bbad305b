-- What most people said of each audited pair: whether the original order is right. Where no majority can tell there is
-- no row, and the bound does not speak of such pairs.
WITH votes AS (
    SELECT pair_id, count(*) AS votes,
        count(*) FILTER ((verdict = 'first') = (shown_first = 'chosen') AND verdict <> 'undecided') AS votes_original,
        count(*) FILTER ((verdict = 'first') <> (shown_first = 'chosen') AND verdict <> 'undecided') AS votes_swapped
    FROM (  -- as gold counts
        FROM audit WHERE coalesce(role, '') <> 'passed'
        QUALIFY rank() OVER (PARTITION BY pair_id ORDER BY coalesce(role, '') = 'adjudicator' DESC) = 1
    ) GROUP BY pair_id
)
SELECT pair_id, votes_original > votes_swapped AS right
FROM votes
WHERE greatest(votes_original, votes_swapped) * 2 > votes
ORDER BY pair_id
