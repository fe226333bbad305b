-- The pairs of one of them with their texts: FROM snapshot('filtered', 'iter_01').
CREATE OR REPLACE MACRO snapshot(which, until) AS TABLE
    SELECT pair_id, conversation, better_of(verified_order, chosen, rejected) AS chosen,
        worse_of(verified_order, chosen, rejected) AS rejected, verified_order = 'swapped' AS flipped
    FROM snapshot_pairs JOIN clean_pool USING (pair_id) WHERE snapshot = which AND upto = until
