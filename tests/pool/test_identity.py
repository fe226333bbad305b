"""Names by content: golden values, borders, symmetry, buckets (spec 0.01, 0.07)."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.identity import bucket_of, bucket_range, comparison_id, conv_id, digest, pair_id, pair_ids, text_hash

TURNS = [("user", "What is two plus two?")]


def test_an_id_is_a_128_bit_hash_over_length_prefixed_parts():
    parts = b"".join(len(p).to_bytes(8, "little") + p for p in (b"user", "Größe?".encode()))
    assert conv_id([("user", "Größe?")]) == hashlib.blake2b(parts, digest_size=16).hexdigest()


def test_ids_never_change():
    """Growth rests on it: an id of an old pool must be found again (spec 0.05)."""
    assert conv_id(TURNS) == "a245af15b7044fb4bec634346a91fbbf"
    assert pair_id(TURNS, "Four.", "Five.") == "b425464faf5eacaeac9cb91406827309"
    assert comparison_id(TURNS, "Four.", "Five.") == "09b94bb6a9724b39266333be4f7c5d02"


def test_turns_and_the_lake_s_spelling_have_one_name():
    stored = [{"role": "user", "content": "What is two plus two?"}]
    assert conv_id(stored) == conv_id(TURNS)
    assert pair_id(stored, "a", "b") == pair_id(conv_id(TURNS), "a", "b")


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_text_cannot_imitate_a_border(one, other):
    assert (digest(one) == digest(other)) == (one == other)


@given(st.text(max_size=8), st.text(max_size=8))
def test_order_matters_to_a_pair_and_not_to_a_comparison(a, b):
    assert comparison_id(TURNS, a, b) == comparison_id(TURNS, b, a)
    assert (pair_id(TURNS, a, b) == pair_id(TURNS, b, a)) == (a == b)
    assert pair_ids(conv_id(TURNS), a, b) == (pair_id(TURNS, a, b), comparison_id(TURNS, a, b))


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(UnicodeEncodeError):
        text_hash("\ud800")


@given(st.integers(0, 2**128 - 1), st.integers(1, 64))
def test_a_bucket_is_a_range_of_comparison_ids(number, buckets):
    name = f"{number:032x}"
    bucket = bucket_of(name, buckets)
    low, high = bucket_range(bucket, buckets)
    assert low <= name < high
    assert 0 <= int(bucket[1:]) < buckets


@pytest.mark.parametrize("buckets", [1, 3, 4, 64])
def test_ranges_touch_and_cover_everything(buckets):
    ranges = [bucket_range(f"b{i:02d}", buckets) for i in range(buckets)]
    assert ranges[0][0] == "0" * 8 and ranges[-1][1] > "f" * 32
    assert all(left[1] == right[0] for left, right in pairwise(ranges))
