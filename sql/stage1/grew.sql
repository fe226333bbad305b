-- The iteration with which pairs last joined that may be labelled in the one after $iteration.
-- $iteration VARCHAR
SELECT 'iter_' || lpad(coalesce(max(joined), 0)::VARCHAR, 2, '0')
FROM embeddings JOIN clean_pool USING (pair_id)
WHERE joined <= right($iteration, 2)::INT + 1 AND NOT conflict
