-- The first rows and files that could not be read, whole files first.
-- $n BIGINT
SELECT file, row, reason, error FROM quarantine ORDER BY row > 0, source, row LIMIT $n
