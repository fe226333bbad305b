-- What an import warns of, by source.
SELECT warning FROM imports WHERE warning IS NOT NULL AND records > 0 ORDER BY source
