SELECT * FROM new
WHERE value NOT BETWEEN -0.02 AND 1.02 OR low > high OR ties > n OR truncated > n OR n > out_of
