-- The first pairs that have attributes, by id, with their conversations: ids are hashes, so they are a sample.
-- $n BIGINT
SELECT p.conversation, a.category, a.objectivity, a.controversiality
FROM clean_pool p JOIN pair_attributes a USING (pair_id) ORDER BY p.pair_id LIMIT $n
