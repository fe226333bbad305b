-- Pairs with the states of both responses. A response that is too long has none; one that was never read is `unread`.
-- TABLE pairs_now (pair_id VARCHAR, conversation STRUCT("role" VARCHAR, "content" VARCHAR)[], chosen VARCHAR, rejected VARCHAR)
WITH wanted AS (
    SELECT md5(chosen) AS text FROM pairs_now UNION SELECT md5(rejected) FROM pairs_now
), known AS (
    -- several buckets may hold a text, and its states may differ in their last bits
    SELECT text, min(state) AS state, min(reader) AS reader FROM states WHERE text IN (FROM wanted) GROUP BY text
)
SELECT p.*, c.state AS chosen_state, r.state AS rejected_state, c.text IS NULL OR r.text IS NULL AS unread,
    coalesce(c.reader, r.reader) AS reader, md5(conversation::VARCHAR) AS conversation_hash,
    coalesce(conversation[-1].content, '') AS prompt
FROM pairs_now p LEFT JOIN known c ON c.text = md5(p.chosen) LEFT JOIN known r ON r.text = md5(p.rejected)
ORDER BY pair_id
