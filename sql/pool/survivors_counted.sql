-- What deduplication left of a bucket's records.
-- TABLE survivors AS pool/deduped
SELECT count(*) AS pairs, coalesce(sum(copies), 0)::BIGINT AS records, count_if(conflict) AS conflicts,
    count_if(len(also_in) > 0) AS shared
FROM survivors
