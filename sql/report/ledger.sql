-- Input records by the class they ended in, with the reasons.
SELECT class, sum(records)::BIGINT AS records, string_agg(reason || ' ' || records, ', ' ORDER BY records DESC) AS reasons
FROM (SELECT class, coalesce(reason, '') AS reason, sum(records)::BIGINT AS records FROM ledger GROUP BY ALL)
GROUP BY class ORDER BY 2 DESC
