-- What stage 2 decided, with its texts.
SELECT pair_id, conversation, chosen, rejected FROM clean_pool SEMI JOIN decisions USING (pair_id)
