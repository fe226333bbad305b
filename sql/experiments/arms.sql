-- The arms of every experiment with what they are, what their labels are worth, what a training of theirs took on the mean,
-- and every replicate's scores.
SELECT s.experiment, s.arm, s.built, s.pairs, s.swapped, s.hash, s.problem, l.value AS right_label,
    (SELECT {'steps': avg(steps), 'tokens': avg(tokens), 'seconds': avg(seconds)}
        FROM experiment_models m WHERE m.training_set = s.training_set) AS training,
    (SELECT list({'evaluation': evaluation, 'replicate': replicate, 'value': value, 'half': (high - low) / 2, 'n': n}
        ORDER BY evaluation, replicate) FROM experiment_results r WHERE r.training_set = s.training_set) AS results
FROM experiment_sets s LEFT JOIN studies l ON l.study = 'labels' AND l.item = s.training_set
ORDER BY s.experiment, s.arm
