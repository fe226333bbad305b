-- What labels cost, by who gave them.
SELECT who, sum(labels)::BIGINT AS labels, sum(dollars) AS dollars, bool_or(simulated) AS simulated FROM cost GROUP BY 1
