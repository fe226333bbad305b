-- Why pairs of a source may not be handed over: no permission to pass them on, or no license known. Null where nothing is
-- in the way, also for those that are named in $spelled_out.
-- $spelled_out VARCHAR[]
SELECT source, path, fingerprint, license, label_origin, redistribution,
    CASE WHEN source IN $spelled_out THEN NULL
        WHEN NOT redistribution THEN 'no_permission'
        WHEN lower(trim(license)) IN ('', 'unknown', 'none', 'n/a', 'na', 'null', '?', 'tbd', 'todo') THEN 'no_license'
    END AS barred
FROM sources ORDER BY source
