-- How the pool grew, where anything joined after the beginning.
SELECT * FROM growth WHERE (SELECT max(joined) FROM sources) > 0 ORDER BY joined, source
