-- Histograms and moments of a training set.
-- TABLE described (source VARCHAR, topic VARCHAR, length BIGINT, longer BIGINT, margin DOUBLE, margin_size DOUBLE, length_bin VARCHAR, longer_bin VARCHAR, margin_bin VARCHAR, category VARCHAR, objectivity VARCHAR, controversiality VARCHAR)
WITH items AS (
    SELECT 'source' AS statistic, source AS item FROM described
    UNION ALL SELECT 'topic', topic FROM described WHERE topic <> ''
    UNION ALL SELECT 'length', length_bin FROM described
    UNION ALL SELECT 'margin_size', margin_bin FROM described WHERE margin IS NOT NULL
    UNION ALL SELECT 'longer', longer_bin FROM described
    UNION ALL SELECT 'category', category FROM described WHERE category IS NOT NULL
    UNION ALL SELECT 'objectivity', objectivity FROM described WHERE objectivity IS NOT NULL
    UNION ALL SELECT 'controversiality', controversiality FROM described WHERE controversiality IS NOT NULL
), numbers AS (
    UNPIVOT (
        SELECT avg(length)::DOUBLE AS length_mean, stddev_samp(length)::DOUBLE AS length_sd,
            avg(longer)::DOUBLE AS longer_mean, stddev_samp(longer)::DOUBLE AS longer_sd,
            avg(margin)::DOUBLE AS margin_mean, stddev_samp(margin)::DOUBLE AS margin_sd,
            avg(margin_size)::DOUBLE AS margin_size_mean, stddev_samp(margin_size)::DOUBLE AS margin_size_sd FROM described
    ) ON COLUMNS(*) INTO NAME statistic VALUE value
)
SELECT statistic, item, count(*) / sum(count(*)) OVER (PARTITION BY statistic) AS value,
    (sum(count(*)) OVER (PARTITION BY statistic))::BIGINT AS n
FROM items GROUP BY statistic, item
UNION ALL
SELECT statistic, '', value,
    (SELECT CASE WHEN starts_with(statistic, 'margin') THEN count(margin) ELSE count(*) END FROM described)
FROM numbers WHERE value IS NOT NULL AND isfinite(value)
