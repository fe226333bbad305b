-- Dollars a kept and a flipped pair.
SELECT class, dollars_a_pair, dollars_a_pair_all_in, simulated FROM cost_per_pair
WHERE class IN ('keep', 'flip') AND dollars_a_pair_all_in > 0
ORDER BY class DESC
