-- Of the overlaps of each length: how many there are, at how many a judge looked, and what it said.
CREATE OR REPLACE VIEW overlap_rates AS
    SELECT o.n, count(*) AS flags, count(v.verdict) FILTER (v.verdict <> '') AS looked,
        count(*) FILTER (v.verdict = 'contaminated') AS contaminated,
        count(*) FILTER (v.verdict = 'false_positive') AS false_positives,
        count(*) FILTER (v.verdict = 'cannot_determine') AS undecided
    FROM benchmark_overlaps o LEFT JOIN overlap_verdicts v USING (pair_id, benchmark)
    GROUP BY ALL ORDER BY o.n
