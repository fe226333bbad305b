-- What labels cost, in dollars; a refusal or an answer that could not be read was paid and is no label. What calls cost
-- that brought no row at all stands in the table spending.
CREATE OR REPLACE VIEW cost AS
    SELECT who, stage, model, count(*) FILTER (is_label) AS labels, sum(cost_micros) / 1e6 AS dollars,
        bool_or(simulated) AS simulated
    FROM paid_labels GROUP BY ALL
