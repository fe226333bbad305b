-- How many pairs were dropped because people's labels do not bear out what would have been done with them.
SELECT count(*) AS pairs FROM decisions WHERE reason IN ('flip_unproven', 'keep_unproven', 'too_little_gold')
