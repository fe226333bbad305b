-- What each step's labels cost, and how many there are.
SELECT who || ' / ' || stage, sum(dollars), sum(labels)::BIGINT FROM cost GROUP BY 1
