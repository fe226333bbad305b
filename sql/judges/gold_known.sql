-- What is known of the pairs that the panel was measured on: the order by people, strata, lengths.
SELECT pair_id, verified_order, [objectivity, controversiality || ' controversiality', category] AS strata,
    length(chosen) AS chosen_chars, length(rejected) AS rejected_chars
FROM gold JOIN clean_pool USING (pair_id) JOIN attributes USING (pair_id)
WHERE pair_id IN (SELECT pair_id FROM gold_votes)
ORDER BY pair_id
