-- Dollars a pair by the class it ended in: spent on these very pairs, and of the whole run if they alone had to pay.
CREATE OR REPLACE VIEW cost_per_pair AS
    WITH spent AS (
        SELECT pair_id, sum(cost_micros)::BIGINT AS micros, bool_or(simulated AND cost_micros > 0) AS simulated
        FROM paid_labels GROUP BY pair_id
    )
    SELECT class, count(*) AS pairs, coalesce(sum(micros), 0) / 1e6 AS dollars,
        coalesce(sum(micros), 0) / 1e6 / count(*) AS dollars_a_pair,
        coalesce((SELECT sum(micros) FROM spent), 0) / 1e6 / count(*) AS dollars_a_pair_all_in,
        coalesce((SELECT bool_or(simulated) FROM spent), false) AS simulated
    FROM outcome LEFT JOIN spent USING (pair_id) GROUP BY class
