-- The pairs of one of them with their texts: FROM snapshot('filtered', 'iter_01').
CREATE OR REPLACE MACRO snapshot(which, until) AS TABLE
    SELECT pair_id, conversation, better_of("order", chosen, rejected) AS chosen,
        worse_of("order", chosen, rejected) AS rejected, "order" = 'swapped' AS flipped
    FROM snapshot_pairs JOIN clean_pool USING (pair_id) WHERE "view" = which AND upto = until
