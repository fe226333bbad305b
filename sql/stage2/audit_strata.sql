-- TABLE candidates (pair_id VARCHAR, comparison_id VARCHAR, stratum VARCHAR, class VARCHAR, asked BOOLEAN)
SELECT stratum, class, asked, count(*) AS pairs FROM candidates GROUP BY ALL
