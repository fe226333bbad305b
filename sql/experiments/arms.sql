-- The arms of every experiment with what they are, what their labels are worth, and every replicate's scores.
SELECT s.experiment, s.arm, s.built, s.pairs, s.swapped, s.hash, s.problem, l.value AS right_label,
    (SELECT list({'evaluation': evaluation, 'replicate': replicate, 'value': value, 'half': (high - low) / 2, 'n': n}
        ORDER BY evaluation, replicate) FROM experiment_results r WHERE r.training_set = s.training_set) AS results
FROM experiment_sets s LEFT JOIN studies l ON l.study = 'labels' AND l.item = s.training_set
ORDER BY s.experiment, s.arm
