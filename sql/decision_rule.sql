-- The rule of stage 2 as macros, so that routing, deciding and predicting cannot differ (spec 4, partition; O-01 to O-04).
-- Votes on the original order: + agrees, - prefers the other order, 0 cannot tell, '' is missing.

-- A model's vote: + above threshold + band, - as far below one half, so that a swapped pair gets the swapped vote.
CREATE OR REPLACE MACRO stage2_vote(p, threshold, band) AS CASE
    WHEN p IS NULL THEN ''
    WHEN p > threshold + band THEN '+'
    WHEN p < 1 - threshold - band THEN '-'
    ELSE '0'
END;

-- Can the judges still change the class? Under `no_human` there is no gold model; the policies left out never ask.
CREATE OR REPLACE MACRO stage2_asked(policy, b, g) AS CASE
    WHEN policy = 'no_human' THEN b IN ('-', '0')
    WHEN policy = 'flip_all' THEN b IN ('-', '0') AND g = '+'
    WHEN policy IN ('symmetric', 'direct_retain') THEN (b IN ('-', '0') AND g = '+') OR (b = '0' AND g = '-')
    ELSE false
END;

CREATE OR REPLACE MACRO stage2_class(policy, b, g, j) AS CASE policy
    WHEN 'best_only' THEN CASE b WHEN '+' THEN 'keep' WHEN '-' THEN 'flip' ELSE 'drop' END
    WHEN 'gold_only' THEN CASE g WHEN '+' THEN 'keep' WHEN '-' THEN 'flip' ELSE 'drop' END
    WHEN 'both' THEN CASE WHEN b = '+' AND g = '+' THEN 'keep' WHEN b = '-' AND g = '-' THEN 'flip' ELSE 'drop' END
    WHEN 'no_human' THEN
        CASE WHEN b = '' THEN 'drop' WHEN b = '+' OR j = '+' THEN 'keep' WHEN j = '-' THEN 'flip' ELSE 'drop' END
    WHEN 'flip_all' THEN
        CASE WHEN b = '' OR g = '' THEN 'drop' WHEN g = '+' AND (b = '+' OR j = '+') THEN 'keep' ELSE 'flip' END
    WHEN 'direct_retain' THEN
        CASE WHEN b = '' THEN 'drop' WHEN b = '+' OR (g = '+' AND j = '+') THEN 'keep'
            WHEN g = '-' AND (b = '-' OR j = '-') THEN 'flip' ELSE 'drop' END
    WHEN 'symmetric' THEN
        CASE WHEN b = '' THEN 'drop' WHEN g = '+' AND (b = '+' OR j = '+') THEN 'keep'
            WHEN g = '-' AND (b = '-' OR j = '-') THEN 'flip' ELSE 'drop' END
END;

-- Why a model that the policy hears gives no vote; null where all that it hears vote.
CREATE OR REPLACE MACRO stage2_unscored(policy, unscored_best, unscored_gold) AS coalesce(
    CASE WHEN policy <> 'gold_only' THEN unscored_best END,
    CASE WHEN policy NOT IN ('best_only', 'no_human') THEN unscored_gold END
);

-- Why; `unscored` as above, the others as in sql/decisions.sql.
CREATE OR REPLACE MACRO stage2_reason(policy, b, g, j, asked, class, unscored) AS CASE
    WHEN class = 'keep' THEN CASE WHEN j = '+' AND b <> '+' THEN 'judged' ELSE 'agreed' END
    WHEN class = 'flip' THEN CASE WHEN b = '-' AND g = '-' THEN 'both_reject' WHEN j = '-' THEN 'judged'
        WHEN policy = 'flip_all' THEN 'rest' ELSE 'rejected' END
    WHEN unscored IS NOT NULL THEN unscored
    WHEN asked AND j = '' THEN 'no_verdict'
    WHEN j = '0' THEN 'undecided'
    WHEN g = '0' OR (b = '0' AND j = '') THEN 'tie'
    ELSE 'conflict'
END;
