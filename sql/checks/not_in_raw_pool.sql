-- $partition VARCHAR
SELECT n.source, n.row, n.part FROM new n JOIN raw_pool o USING (source, row, part) WHERE o.source = $partition
