-- Of the findings of personal data by sensitivity: how many there are, what a judge said of those that it looked at, and how
-- many of a sample people found right.
CREATE OR REPLACE VIEW personal_rates AS
    SELECT f.sensitivity, count(DISTINCT f.pair_id || f.place || f.start) AS findings,
        count(*) FILTER (v.judge <> 'people' AND v.verdict <> '') AS looked,
        count(*) FILTER (v.verdict = 'direct') AS direct, count(*) FILTER (v.verdict = 'indirect') AS indirect,
        count(*) FILTER (v.verdict = 'none') AS nobodys,
        count(*) FILTER (v.judge = 'people') AS people_asked, count(*) FILTER (v.verdict = 'yes') AS people_confirmed
    FROM personal_data f LEFT JOIN personal_verdicts v USING (pair_id, place, start)
    GROUP BY ALL ORDER BY f.sensitivity
