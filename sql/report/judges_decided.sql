-- Usable answers of the panel, and the labels that came of them.
SELECT (SELECT count(*) FROM judge_votes WHERE status = 'ok') AS votes, (SELECT count(*) FROM silver) AS silver
