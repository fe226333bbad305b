-- Size and content of every view. A pair's id is a hash of its texts, so the sums over ids and orders are one of the
-- content, whatever the order of the rows.
SELECT upto, snapshot, count(*) AS pairs, count(*) FILTER (verified_order = 'swapped') AS swapped,
    md5(concat_ws('/', count(*), sum(md5_number_lower(pair_id || verified_order)::HUGEINT),
        sum(md5_number_upper(pair_id || verified_order)::HUGEINT))) AS hash
FROM snapshot_pairs GROUP BY ALL
