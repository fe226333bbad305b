SELECT * FROM new
WHERE objectivity NOT IN ('objective', 'subjective', 'missing')
    OR controversiality NOT IN ('low', 'medium', 'high', 'missing')
