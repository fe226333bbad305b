-- Files of recorded answers of which a row was refused, or none was accepted: a line each.
SELECT format('answers of {}, {}: {} accepted, {} refused: {}', answers_of, path, accepted, refused, reasons)
FROM answer_files WHERE refused > 0 OR accepted = 0 ORDER BY answers_of, place
