-- What each person said of the pairs that the panel was measured on.
SELECT pair_id, annotator, vote_of(verdict, shown_first) AS vote
FROM human_labels
WHERE verdict <> 'undecided' AND pair_id IN (SELECT pair_id FROM gold) AND pair_id IN (SELECT pair_id FROM gold_votes)
ORDER BY ALL
