-- What people said of each pair, with its stratum as it was generated.
SELECT h.pair_id, annotator, verdict, shown_first, seconds, coalesce(hint_verdict, '') AS hint,
    coalesce(t_start, '') AS started, a.objectivity, a.controversiality, a.category
FROM human_labels h LEFT JOIN attributes a USING (pair_id)
ORDER BY h.iteration, event_id
