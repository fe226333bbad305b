-- Contradictions on near-identical prompts, as the lake counted them before anything was left out.
SELECT snapshot, stratum, pairs, opposite, in_circles, circles FROM conflicts ORDER BY ALL
