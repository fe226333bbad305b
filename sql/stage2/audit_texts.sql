-- The audited pairs as people see them.
SELECT pair_id, comparison_id, conversation, chosen, rejected, category, objectivity, controversiality, desired, guideline,
    0::BIGINT AS priority
FROM audit_attributes JOIN clean_pool USING (pair_id)
ORDER BY pair_id
