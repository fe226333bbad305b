-- Training pairs in the verified order; {labels} selects pair_id and "order".
SELECT pair_id, conversation,
    CASE l."order" WHEN 'original' THEN chosen ELSE rejected END AS chosen,
    CASE l."order" WHEN 'original' THEN rejected ELSE chosen END AS rejected,
    1.0::DOUBLE AS weight
FROM ({labels}) l JOIN clean_pool USING (pair_id)
