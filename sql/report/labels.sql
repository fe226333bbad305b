-- Which labels are right: of the pool as it came, of every class, of both releases; as a share of the pairs about which
-- the reference can tell. And what the filters of stage 2 are worth one by one (spec 4.11).
-- TABLE truth AS report/truth
WITH labelled AS (
    SELECT pair_id, 'original' AS class, false AS swapped FROM clean_pool
    UNION ALL SELECT pair_id, 'gold', verified_order = 'swapped' FROM gold
    UNION ALL SELECT pair_id, 'silver', verified_order = 'swapped' FROM silver
    UNION ALL SELECT pair_id, 'undecided', false FROM undecided
    UNION ALL SELECT pair_id, 'stage 2 input', false FROM decisions
    UNION ALL SELECT pair_id, 'kept', false FROM kept
    UNION ALL SELECT pair_id, 'kept, ' || route, false FROM kept
    UNION ALL SELECT pair_id, 'flipped', true FROM flipped
    UNION ALL SELECT pair_id, 'dropped', false FROM dropped
    UNION ALL SELECT pair_id, 'curated release', flipped FROM release_curated
    UNION ALL SELECT pair_id, 'corrected release', flipped FROM release_corrected
), judged AS (
    SELECT class, topic, against, original_right <> swapped AS is_right FROM labelled JOIN truth USING (pair_id)
), filters AS (
    SELECT pair_id, unnest(['best', 'gold', 'best and gold', 'the rule']) AS filter,
        unnest([
            b, g,
            CASE WHEN b = g THEN b ELSE '0' END,
            CASE class WHEN 'keep' THEN '+' WHEN 'flip' THEN '-' ELSE '0' END
        ]) AS vote
    FROM decisions
)
SELECT 'label_precision' AS figure, class AS figure_group, count(*) FILTER (is_right)::DOUBLE AS hits,
    count(is_right) AS n, any_value(against) AS against
FROM judged GROUP BY class
UNION ALL
SELECT 'undecidable', class, count(*) FILTER (is_right IS NULL), count(*), any_value(against) FROM judged GROUP BY class
UNION ALL
SELECT 'label_precision_by_topic', topic || ' / ' || class, count(*) FILTER (is_right), count(is_right),
    any_value(against)
FROM judged
WHERE class IN ('original', 'kept', 'flipped', 'dropped', 'curated release', 'corrected release')
GROUP BY topic, class
UNION ALL
SELECT CASE vote WHEN '+' THEN 'filter_keep' ELSE 'filter_discard' END, filter,
    count(*) FILTER (original_right = (vote = '+')), count(original_right), any_value(against)
FROM filters JOIN truth USING (pair_id) WHERE vote <> '0'
GROUP BY ALL
UNION ALL
SELECT 'flip_recall', '', count(*) FILTER (class = 'flip'), count(*), any_value(against)
FROM decisions JOIN truth USING (pair_id) WHERE NOT original_right
UNION ALL
SELECT 'wrong_label_kept', '', count(*) FILTER (class = 'keep'), count(*), any_value(against)
FROM decisions JOIN truth USING (pair_id) WHERE NOT original_right
UNION ALL
SELECT 'flipped_by_origin', label_origin, count(*) FILTER (d.class = 'flip'), count(*), ''
FROM decisions d JOIN clean_pool USING (pair_id) GROUP BY label_origin
