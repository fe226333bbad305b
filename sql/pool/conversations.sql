-- Every conversation once, as one text, with the iteration in which it first joined.
SELECT conv_id, any_value(array_to_string(list_transform(conversation, lambda t: t.content), chr(10))) AS text,
    min(joined) AS joined
FROM raw_pool GROUP BY conv_id
