-- How many labels of each training set are right, as far as the reference can tell: reported, and never matched (spec O-18).
-- TABLE truth AS report/truth
SELECT s.training_set AS item, 'right label' AS figure,
    (count(*) FILTER (original_right = (verified_order = 'original')))::DOUBLE AS hits, count(original_right) AS n
FROM experiment_pairs s JOIN truth USING (pair_id) GROUP BY s.training_set ORDER BY 1
