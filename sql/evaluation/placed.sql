-- The items of a benchmark in the groups of its sheet; the others in their own.
-- TABLE items (item_id VARCHAR, item_group VARCHAR, subset VARCHAR)
-- TABLE group_of (subset VARCHAR, grp VARCHAR)
SELECT items.* EXCLUDE (item_group), coalesce(group_of.grp, items.item_group, '') AS item_group
FROM items LEFT JOIN group_of USING (subset)
