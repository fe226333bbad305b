SELECT comparison_id FROM new GROUP BY 1 HAVING (count(*) > 1) <> bool_or(conflict)
