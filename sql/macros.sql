-- Rules that several statements share, each standing once. Loaded with the views; the later ones may use the earlier.

-- ---- scores -------------------------------------------------------------------------------------------------------
CREATE OR REPLACE MACRO sigmoid(x) AS 1 / (1 + exp(-x));

-- Whether a margin has the right sign: 1 where it has, 0 where it has not, one half for a tie; null stays null. Of a
-- probability p it is hit(p - 0.5).
CREATE OR REPLACE MACRO hit(margin) AS CASE WHEN margin > 0 THEN 1.0 WHEN margin < 0 THEN 0.0 WHEN margin = 0 THEN 0.5 END;

-- Calibrated probability that the original order is right, from both models' margins and the judges' sum; null without
-- coefficients.
CREATE OR REPLACE MACRO p_of_margins(margin_best, margin_gold, judged, intercept, best, gold, judges) AS
    sigmoid(intercept + best * margin_best + gold * margin_gold + judges * judged);

-- Judges for the original order less those against it, from their voices as JSON; 0 where there is none.
CREATE OR REPLACE MACRO judges_sum(votes) AS coalesce(list_sum([
    CASE v WHEN 'original' THEN 1 WHEN 'swapped' THEN -1 ELSE 0 END FOR v IN json_extract_string(votes, '$.*')
]), 0);

-- How many neighbours a pair may ask for (spec 3.07): k_max where the model is wrong, cannot tell or has not seen it, else
-- ceil(k_max * (1 - p)), where the product is not off a whole number by how binary fractions are written.
CREATE OR REPLACE MACRO k_for(p, k_max) AS CASE WHEN p > 0.5
    THEN greatest(ceil(round(k_max * (1 - p), 9)), ceil(1 - p)) ELSE k_max END::BIGINT;

-- A number by lot: equal names and seeds give equal numbers, whatever the order of the rows.
CREATE OR REPLACE MACRO draw(name, seed) AS md5_number_lower(name || seed);

-- ---- orders and votes ---------------------------------------------------------------------------------------------
-- The two responses in a verified order, original or swapped.
CREATE OR REPLACE MACRO better_of(verified_order, chosen, rejected) AS
    CASE verified_order WHEN 'original' THEN chosen ELSE rejected END;
CREATE OR REPLACE MACRO worse_of(verified_order, chosen, rejected) AS
    CASE verified_order WHEN 'original' THEN rejected ELSE chosen END;

-- A person's verdict (first, second or undecided) mapped back to the original order: original, swapped, or null.
CREATE OR REPLACE MACRO vote_of(verdict, shown_first) AS
    CASE WHEN verdict <> 'undecided' THEN
        CASE WHEN (verdict = 'first') = (shown_first = 'chosen') THEN 'original' ELSE 'swapped' END END;

-- Whether a judge's answer is missing: it was asked for and never came.
CREATE OR REPLACE MACRO is_missing(status) AS status IN ('error', 'lost', 'expired', 'cancelled', 'returned');

-- Whether an answer counts, in QUALIFY: an adjudicator's word alone where there is one; what was passed on does not.
CREATE OR REPLACE MACRO heard(pair_id, role) AS coalesce(role, '') <> 'passed'
    AND 1 = rank() OVER (PARTITION BY pair_id ORDER BY coalesce(role, '') = 'adjudicator' DESC);

-- How many of a group of such verdicts are for an order.
CREATE OR REPLACE MACRO votes_for(verified_order, verdict, shown_first) AS
    count(*) FILTER (vote_of(verdict, shown_first) = verified_order);

-- The order that more than half of all people are for; null where there is none.
CREATE OR REPLACE MACRO majority(votes_original, votes_swapped, votes) AS
    CASE WHEN votes_original * 2 > votes THEN 'original' WHEN votes_swapped * 2 > votes THEN 'swapped' END;

-- ---- attributes and roles -----------------------------------------------------------------------------------------
-- The cell that people label first and releases call low risk (spec 2.07).
CREATE OR REPLACE MACRO low_risk(objectivity, controversiality) AS objectivity = 'objective' AND controversiality = 'low';

-- Who may read gold of which role (spec O-06). A conversation cluster has one role for good; stage1/gold.sql deals them.
--     train        the gold reward model learns from it
--     few_shot     shown to judges as examples; the gold reward model learns from it too
--     validation   chooses the checkpoints of models that do not learn from gold; the gold reward model learns from it
--                  too, since parts of gold choose its length (stage2.folds; with 0 this role chooses its checkpoint)
--     calibration  turns scores into probabilities and thresholds; where nobody wants these, the gold reward model learns
--                  from it
--     test         read by nothing but the final measure
-- The loop's reward model never learns from gold, so what it gets wrong among the roles open to it is honest.
CREATE OR REPLACE MACRO is_open(role) AS role IN ('train', 'few_shot', 'validation');
CREATE OR REPLACE MACRO is_example(role) AS role = 'few_shot';
CREATE OR REPLACE MACRO is_trained_on(role) AS role IN ('train', 'few_shot');

-- Whether chance and no policy brought a pair into its batch.
CREATE OR REPLACE MACRO by_chance(why) AS why IN ('seed', 'random');

-- ---- evaluation ---------------------------------------------------------------------------------------------------
-- A prompt as the conversation it opens.
CREATE OR REPLACE MACRO asked(prompt) AS [{'role': 'user', 'content': prompt}];

-- ---- stage 2 ------------------------------------------------------------------------------------------------------
-- The rule of stage 2, so that routing, deciding and predicting cannot differ (spec 4, partition; O-01 to O-04).
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

-- Why; `unscored` as above, the others as in sql/stage2/decisions.sql.
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

-- Where calibrated decisions have thresholds of their own: both models agree with the original order, both reject it, or
-- neither.
CREATE OR REPLACE MACRO stratum_of(b, g) AS
    CASE WHEN b = '+' AND g = '+' THEN 'agree' WHEN b = '-' AND g = '-' THEN 'reject' ELSE 'split' END;
