SELECT pair_id FROM new JOIN clean_pool p USING (pair_id)
WHERE [t.role FOR t IN new.conversation] <> [t.role FOR t IN p.conversation]
