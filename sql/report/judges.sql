-- What each judge is worth: agreement with the reference and with people, habits of position, share decided.
-- TABLE truth AS report/truth
WITH votes AS (
    SELECT pair_id, judge, replicate, shown_first, answer, vote FROM judge_votes WHERE status <> 'not_recorded'
    UNION ALL
    SELECT pair_id, judge, replicate, shown_first, answer, vote FROM stage2_votes WHERE status <> 'not_recorded'
), both_orders AS (
    SELECT judge, pair_id, count(DISTINCT vote) > 1 AS changed
    FROM votes WHERE vote IN ('original', 'swapped')
    GROUP BY judge, pair_id HAVING count(DISTINCT shown_first) > 1
), people AS (
    SELECT pair_id, annotator,
        vote_of(verdict, shown_first) AS vote
    FROM human_labels WHERE verdict <> 'undecided'
)
SELECT 'judge_agrees_with_reference' AS figure, judge AS figure_group,
    count(*) FILTER (original_right = (vote = 'original'))::DOUBLE AS hits, count(*) AS n, any_value(against) AS against
FROM votes JOIN truth USING (pair_id) WHERE vote IN ('original', 'swapped') AND original_right IS NOT NULL GROUP BY judge
UNION ALL
SELECT 'judge_prefers_first', judge, count(*) FILTER (answer = 'candidate_1'), count(*), ''
FROM votes WHERE answer IN ('candidate_1', 'candidate_2') GROUP BY judge
UNION ALL
SELECT 'judge_changes_with_order', judge, count(*) FILTER (changed), count(*), '' FROM both_orders GROUP BY judge
UNION ALL
SELECT 'judge_decides', judge, count(*) FILTER (vote IN ('original', 'swapped')), count(*), '' FROM votes GROUP BY judge
UNION ALL
SELECT 'people_agree_with_reference', annotator, count(*) FILTER (original_right = (vote = 'original')), count(*),
    any_value(against)
FROM people JOIN truth USING (pair_id) WHERE original_right IS NOT NULL GROUP BY annotator
