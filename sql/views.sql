-- Views for people and for `assay`; a later one may use an earlier one.

-- Every distinct pair with its texts, those of the record that stayed.
CREATE OR REPLACE VIEW deduped_pairs AS
    SELECT d.*, p.conversation, p.chosen, p.rejected
    FROM deduped d JOIN raw_pool p USING (comparison_id, pair_id, source, row, part);

-- Every input record that is not in the clean pool, with the reason and what it rests on.
CREATE OR REPLACE VIEW removed AS
    SELECT source, row, part, reason, evidence FROM unusable
    UNION ALL
    SELECT source, row, part, 'duplicate', 'kept: ' || kept_source || ' row ' || kept_row FROM duplicates
    UNION ALL
    SELECT d.source, d.row, d.part, 'contaminated', c.benchmark || ' ' || c.item_id || ': ' || c.span
    FROM contaminated c JOIN deduped d USING (pair_id);

-- How the pool grew (spec 0.05): what each source brought with the iteration in which it joined. Of its pairs some are
-- repeated (equal to another of the same iteration), some known (there since an earlier one), some contaminated, the
-- others new; a new pair that bears the opposite label of a pair of the pool is contradicting.
CREATE OR REPLACE VIEW growth AS
    WITH counted AS (
        SELECT source, 'unreadable' AS what, count(*) AS n FROM quarantine GROUP BY source
        UNION ALL SELECT source, 'unusable', count(*) FROM unusable GROUP BY source
        UNION ALL SELECT source, 'pairs', count(*) FROM raw_pool GROUP BY source
        UNION ALL SELECT d.source, CASE WHEN k.joined < s.joined THEN 'known' ELSE 'repeated' END, count(*)
            FROM duplicates d JOIN sources s USING (source) JOIN sources k ON k.source = d.kept_source GROUP BY ALL
        UNION ALL SELECT source, 'contaminated', count(*) FROM contaminated GROUP BY source
        UNION ALL SELECT source, 'new', count(*) FROM clean_pool GROUP BY source
        UNION ALL SELECT source, 'contradicting', count(*) FROM clean_pool WHERE conflict GROUP BY source
    )
    SELECT joined, source,
        coalesce(sum(n) FILTER (what = 'unreadable'), 0)::BIGINT AS unreadable,
        coalesce(sum(n) FILTER (what = 'unusable'), 0)::BIGINT AS unusable,
        coalesce(sum(n) FILTER (what = 'pairs'), 0)::BIGINT AS pairs,
        coalesce(sum(n) FILTER (what = 'repeated'), 0)::BIGINT AS repeated,
        coalesce(sum(n) FILTER (what = 'known'), 0)::BIGINT AS known,
        coalesce(sum(n) FILTER (what = 'contaminated'), 0)::BIGINT AS contaminated,
        coalesce(sum(n) FILTER (what = 'new'), 0)::BIGINT AS new,
        coalesce(sum(n) FILTER (what = 'contradicting'), 0)::BIGINT AS contradicting
    FROM sources LEFT JOIN counted USING (source)
    GROUP BY joined, source;

-- Pairs that share n-grams with a benchmark, by source and benchmark (null: any): all of them, and those that would be
-- left if n-grams which the pool holds often did not count. A pair that shares some with two benchmarks counts for both.
CREATE OR REPLACE VIEW contamination AS
    SELECT d.source, h.benchmark, count(DISTINCT d.pair_id) AS any_match,
        count(DISTINCT d.pair_id) FILTER (NOT f.frequent) AS rare_match
    FROM benchmark_hits h
    JOIN deduped d ON h.conv_id = d.conv_id AND h.bucket = d.bucket AND coalesce(h.pair_id = d.pair_id, true)
    JOIN ngram_frequency f USING (span)
    GROUP BY GROUPING SETS ((d.source, h.benchmark), (d.source), (h.benchmark), ());

-- People's and judges' labels of stage 1, whichever iteration they came in.
CREATE OR REPLACE VIEW verified AS
    SELECT pair_id, cluster_id, "order", 'people' AS label_source, role, iteration FROM gold
    UNION ALL
    SELECT pair_id, cluster_id, "order", 'judges', NULL, iteration FROM silver;

-- Conversation clusters of the gold test share: none of their pairs is released or trained on, or the final measure would
-- meet conversations that its models know.
CREATE OR REPLACE VIEW held_out_clusters AS SELECT DISTINCT cluster_id FROM gold WHERE role = 'test';

-- Attributes of gold as people left them, and as they were generated (spec 1.07); both retrievals and the examples of
-- prompts use the former. `vector` is that of the text with them.
CREATE OR REPLACE VIEW gold_attributes AS
    SELECT g.pair_id, c.cluster_id, g.role, g."order", g.iteration,
        coalesce(e.category, a.category) AS category,
        coalesce(e.objectivity, a.objectivity) AS objectivity,
        coalesce(e.controversiality, a.controversiality) AS controversiality,
        coalesce(e.desired, a.desired) AS desired,
        coalesce(e.guideline, a.guideline) AS guideline,
        {category: a.category, objectivity: a.objectivity, controversiality: a.controversiality, desired: a.desired,
            guideline: a.guideline} AS generated,
        coalesce(e.edited_by, []) AS edited_by, coalesce(e.vector, v.vector) AS vector
    FROM gold g JOIN clean_pool c USING (pair_id) JOIN attributes a USING (pair_id) JOIN embeddings v USING (pair_id)
    LEFT JOIN edited_attributes e USING (pair_id, iteration);

-- Where every pair of the clean pool ended: exactly one row a pair.
CREATE OR REPLACE VIEW outcome AS
    SELECT p.pair_id,
        CASE
            WHEN h.cluster_id IS NOT NULL THEN 'held_out'
            WHEN v.pair_id IS NOT NULL THEN CASE v."order" WHEN 'original' THEN 'keep' ELSE 'flip' END
            WHEN u.pair_id IS NOT NULL THEN 'drop'
            WHEN d.pair_id IS NOT NULL THEN d.class
            ELSE 'pending'
        END AS class,
        CASE
            WHEN v.pair_id IS NOT NULL THEN v.label_source
            WHEN u.pair_id IS NOT NULL THEN u.desk
            WHEN d.pair_id IS NOT NULL THEN 'models'
        END AS decided_by,
        CASE WHEN v.pair_id IS NOT NULL THEN 'verified' WHEN h.cluster_id IS NOT NULL THEN 'test_cluster'
            ELSE coalesce(u.reason, d.reason) END AS reason,
        coalesce(v.iteration, u.iteration) AS iteration
    FROM clean_pool p
    LEFT JOIN held_out_clusters h USING (cluster_id)
    LEFT JOIN verified v USING (pair_id)
    LEFT JOIN undecided u USING (pair_id)
    LEFT JOIN decisions d USING (pair_id);

-- The ledger: input records by the one class each ended in.
CREATE OR REPLACE VIEW ledger AS
    SELECT source, 'quarantine' AS class, reason, count(*) AS records FROM quarantine GROUP BY ALL
    UNION ALL
    SELECT source, 'removed', reason, count(*) FROM removed GROUP BY ALL
    UNION ALL
    SELECT p.source, o.class, o.reason, count(*) FROM clean_pool p JOIN outcome o USING (pair_id) GROUP BY ALL
    UNION ALL
    SELECT w.source, 'pending', 'not yet deduplicated', count(*)
    FROM (FROM raw_pool ANTI JOIN deduped USING (source, row, part) ANTI JOIN duplicates USING (source, row, part)) w
    LEFT JOIN deduped d USING (pair_id)
    LEFT JOIN (SELECT pair_id, count(*) AS lost FROM duplicates GROUP BY pair_id) USING (pair_id)
    WHERE d.pair_id IS NULL OR d.copies = 1 + coalesce(lost, 0)  -- else it was counted and not listed: a gap
    GROUP BY ALL
    UNION ALL
    SELECT source, 'pending', 'not yet decontaminated', count(*)
    FROM deduped ANTI JOIN clean_pool USING (pair_id) ANTI JOIN contaminated USING (pair_id) GROUP BY ALL;

-- One row a pair: everything known of it.
CREATE OR REPLACE VIEW lineage AS
    SELECT p.pair_id, p.comparison_id, p.conv_id, p.cluster_id, p.source, p.row, p.part, p.stage, p.label_origin,
        p.copies, p.also_in, p.conflict, p.bucket,
        coalesce(e.category, a.category, a2.category) AS category,
        coalesce(e.objectivity, a.objectivity, a2.objectivity) AS objectivity,
        coalesce(e.controversiality, a.controversiality, a2.controversiality) AS controversiality,
        s.p_best, s.p_gold, d.b, d.g, d.j, d.route, o.class, o.decided_by, o.reason, o.iteration,
        p.conversation, p.chosen, p.rejected
    FROM clean_pool p
    JOIN outcome o USING (pair_id)
    LEFT JOIN edited_attributes e USING (pair_id)
    LEFT JOIN attributes a USING (pair_id)
    LEFT JOIN stage2_attributes a2 USING (pair_id)
    LEFT JOIN scores s USING (pair_id)
    LEFT JOIN decisions d USING (pair_id);

-- Every label somebody was or would be paid for, one row each. A call that serves several pairs (a pair and its swap can
-- ask the same) or several steps is charged once.
CREATE OR REPLACE VIEW paid_labels AS
    WITH votes AS (
        SELECT pair_id, judge, model, iteration AS stage, replicate, status, request_key, cost_micros, simulated
        FROM judge_votes
        UNION ALL
        SELECT pair_id, judge, model, iteration || ', measured on gold', replicate, status, request_key, cost_micros, simulated
        FROM gold_votes
        UNION ALL
        SELECT pair_id, judge, model, 'stage2', replicate, status, request_key, cost_micros, simulated FROM stage2_votes
    ), described AS (
        SELECT 1 AS place, 'before stage 1' AS stage, pair_id, labeller, prompt_version, cost_micros, simulated FROM attributes
        UNION ALL
        SELECT 2, 'audit', pair_id, labeller, prompt_version, cost_micros, simulated FROM audit_attributes
        UNION ALL
        SELECT 3, 'stage2', pair_id, labeller, prompt_version, cost_micros, simulated FROM stage2_attributes
    )
    SELECT pair_id, 'people' AS who, iteration AS stage, backend AS model, true AS is_label, cost_micros, simulated
    FROM human_labels
    UNION ALL
    SELECT pair_id, 'people', 'stage2', backend, true, cost_micros, simulated FROM audit
    UNION ALL
    SELECT pair_id, 'attributes', d.stage, labeller, labeller <> '',
        CASE WHEN 1 = row_number() OVER (PARTITION BY comparison_id, labeller, prompt_version ORDER BY place, pair_id)
            THEN cost_micros ELSE 0 END, simulated
    FROM described d JOIN clean_pool USING (pair_id)
    UNION ALL
    SELECT pair_id, judge, stage, model, status = 'ok',
        CASE WHEN request_key = '' OR 1 = row_number() OVER (
            PARTITION BY request_key ORDER BY stage, pair_id, replicate) THEN cost_micros ELSE 0 END,
        simulated
    FROM votes;

-- What labels cost, in dollars; a refusal or an answer that could not be read was paid and is no label. What calls cost
-- that brought no row at all stands in the table spending.
CREATE OR REPLACE VIEW cost AS
    SELECT who, stage, model, count(*) FILTER (is_label) AS labels, sum(cost_micros) / 1e6 AS dollars,
        bool_or(simulated) AS simulated
    FROM paid_labels GROUP BY ALL;

-- Dollars a pair by the class it ended in: spent on these very pairs, and of the whole run if they alone had to pay.
CREATE OR REPLACE VIEW cost_per_pair AS
    WITH spent AS (
        SELECT pair_id, sum(cost_micros)::BIGINT AS micros, bool_or(simulated AND cost_micros > 0) AS simulated
        FROM paid_labels GROUP BY pair_id
    )
    SELECT class, count(*) AS pairs, coalesce(sum(micros), 0) / 1e6 AS dollars,
        coalesce(sum(micros), 0) / 1e6 / count(*) AS dollars_a_pair,
        coalesce((SELECT sum(micros) FROM spent), 0) / 1e6 / count(*) AS dollars_a_pair_all_in,
        coalesce((SELECT bool_or(simulated) FROM spent), false) AS simulated
    FROM outcome LEFT JOIN spent USING (pair_id) GROUP BY class;

-- Scores of each arm over its seeds: how much of a difference between arms is the luck of one training (spec 6.10).
CREATE OR REPLACE VIEW benchmark_spread AS
    SELECT m.arm, benchmark, subset, metric, count(value) AS seeds, avg(value) AS mean, stddev_samp(value) AS sd,
        min(value) AS lowest, max(value) AS highest
    FROM benchmark_results r JOIN final_reward_model m ON r.arm = m.model
    GROUP BY ALL;

-- How many pairs each policy would ask the judges about, by band, from stored scores and before anybody is asked.
-- `best_first` is the paper's order: all that the best model does not confirm. `gold_first` leaves out what the gold model
-- has settled. The macro takes a pattern of buckets.
CREATE OR REPLACE MACRO judge_calls_in(buckets) AS TABLE
    WITH bands AS (
        SELECT unnest([0.0, 0.02, 0.05, 0.1, 0.2]) AS band UNION SELECT band FROM decision_rule
    ), histogram AS (
        SELECT band, stage2_vote(p_best, coalesce((SELECT threshold FROM decision_rule), 0.5), band) AS b,
            stage2_vote(p_gold, 0.5, 0.0) AS g, count(*) AS n
        FROM (SELECT p_best, p_gold FROM scores WHERE bucket GLOB buckets) CROSS JOIN bands
        WHERE coalesce(p_best, p_gold) IS NOT NULL GROUP BY ALL
    ), policies AS (
        SELECT unnest(['symmetric', 'flip_all', 'direct_retain', 'best_only', 'gold_only', 'both', 'no_human']) AS policy
    )
    SELECT policy, band, sum(n)::BIGINT AS scored,
        coalesce(sum(n) FILTER (b IN ('-', '0') AND policy NOT IN ('best_only', 'gold_only', 'both')), 0)::BIGINT AS best_first,
        coalesce(sum(n) FILTER (stage2_asked(policy, b, g)), 0)::BIGINT AS gold_first,
        best_first - gold_first AS saved
    FROM histogram CROSS JOIN policies GROUP BY policy, band;
CREATE OR REPLACE VIEW judge_calls AS FROM judge_calls_in('*') ORDER BY policy, band;

-- What the data was after each iteration of stage 1, cumulative, and after stage 2: `original` as it came, undecided pairs
-- included; `filtered` where the label was confirmed; `corrected` with the contradicted pairs, swapped (spec 3.15, 5.03).
-- The clusters of test gold are in none.
CREATE OR REPLACE VIEW snapshot_pairs AS
    WITH labelled AS (
        SELECT b.pair_id, b.iteration, v."order"
        FROM annotation_batch b LEFT JOIN verified v USING (pair_id, iteration)
        WHERE b.cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
    ), steps AS (SELECT DISTINCT iteration AS upto FROM annotation_batch),
    sofar AS (SELECT upto, pair_id, "order" FROM steps JOIN labelled ON iteration <= upto)
    SELECT upto, 'original' AS "view", pair_id, 'original' AS "order" FROM sofar
    UNION ALL SELECT upto, 'filtered', pair_id, "order" FROM sofar WHERE "order" = 'original'
    UNION ALL SELECT upto, 'corrected', pair_id, "order" FROM sofar WHERE "order" IS NOT NULL
    UNION ALL SELECT 'stage2', 'original', pair_id, 'original' FROM clean_pool
        WHERE cluster_id NOT IN (SELECT cluster_id FROM held_out_clusters)
    UNION ALL SELECT 'stage2', 'filtered', pair_id, 'original' FROM release_curated
    UNION ALL SELECT 'stage2', 'corrected', pair_id, CASE WHEN flipped THEN 'swapped' ELSE 'original' END
        FROM release_corrected;

-- The pairs of one of them with their texts: FROM snapshot('filtered', 'iter_01').
CREATE OR REPLACE MACRO snapshot(which, until) AS TABLE
    SELECT pair_id, conversation, CASE "order" WHEN 'original' THEN chosen ELSE rejected END AS chosen,
        CASE "order" WHEN 'original' THEN rejected ELSE chosen END AS rejected, "order" = 'swapped' AS flipped
    FROM snapshot_pairs JOIN clean_pool USING (pair_id) WHERE "view" = which AND upto = until;
