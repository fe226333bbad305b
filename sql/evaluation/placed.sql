-- The items of a benchmark in the groups of its sheet; the others in their own.
-- TABLE items (item_id VARCHAR, "group" VARCHAR, subset VARCHAR)
-- TABLE group_of (subset VARCHAR, grp VARCHAR)
SELECT items.* EXCLUDE ("group"), coalesce(group_of.grp, items."group", '') AS "group"
FROM items LEFT JOIN group_of USING (subset)
