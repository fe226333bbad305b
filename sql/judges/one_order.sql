-- Of each judge's votes on a pair, those in one order, drawn by lot.
-- $seed VARCHAR
-- TABLE votes LIKE judge_votes
SELECT * FROM votes WINDOW w AS (PARTITION BY pair_id, judge)
QUALIFY shown_first = CASE draw(pair_id || judge, $seed) % 2 WHEN 0 THEN min(shown_first) OVER w
    ELSE max(shown_first) OVER w END
ORDER BY pair_id, judge, replicate
