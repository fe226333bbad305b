-- Pairs one of whose texts holds some words, whatever the case of their letters.
-- $words VARCHAR
SELECT pair_id FROM clean_pool
WHERE contains(lower(chosen), lower($words)) OR contains(lower(rejected), lower($words))
    OR contains(lower(array_to_string([t.content FOR t IN conversation], chr(10))), lower($words))
