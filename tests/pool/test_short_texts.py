"""Texts without words, and scripts without spaces: what decontamination and clusters take for equal, on planted cases."""

import numpy as np
import pyarrow as pa
import pytest

from curation.clusters import clusters
from curation.contamination import BenchmarkIndex
from tests.support.short_texts import (
    BOILERPLATE,
    BOILERPLATE_USED,
    GIVEN_AWAY,
    KEPT_BACK,
    OTHERS,
    SAME,
    SHORT,
    UNSPACED,
)


def taken(prompts, texts) -> list[str]:
    """The texts that decontamination takes for one of the prompts."""
    index = BenchmarkIndex(["b"] * len(prompts), [f"{i:02d}" for i in range(len(prompts))], prompts)
    return [texts[i] for i in sorted(set(index.scan(pa.array(texts)).text.tolist()))]


def joined(texts) -> dict[str, str]:
    names = [f"{i:03d}" for i in range(len(texts))]
    found = dict(clusters([(names, pa.array(texts), np.zeros(len(texts), int))]))
    return {text: texts[int(found[name])] for name, text in zip(names, texts, strict=True)}


def test_short_prompts_are_told_apart_by_their_signs_and_by_nothing_else():
    assert taken(SHORT, OTHERS) == []
    assert taken(SHORT, SAME) == list(SAME)


def test_texts_that_differ_in_signs_are_clusters_of_their_own():
    found = joined([text for text in (*SHORT, *OTHERS) if text != "C"])  # which is "C?" but for its punctuation
    assert len(set(found.values())) == len(found)
    assert len(set(joined(["Hi", "hi!", "“Hi”", " HI "]).values())) == 1


def test_signs_of_a_long_text_are_not_looked_at():
    words = " ".join(f"word{i}" for i in range(30))
    assert len(set(joined([words, words.replace(" ", " - "), f"* {words} 😀"]).values())) == 1


def test_precision_and_recall_in_scripts_without_spaces():
    given = [text for (text,) in GIVEN_AWAY]
    found, wrong = taken(UNSPACED, given), taken(UNSPACED, KEPT_BACK)
    assert (len(found), len(given), len(wrong), len(KEPT_BACK)) == (23, 23, 0, 16)


@pytest.mark.parametrize(("item", "other"), list(zip(BOILERPLATE, BOILERPLATE_USED, strict=True)))
def test_an_instruction_that_everybody_writes_gives_nothing_away(item, other):
    shared = next(i for i, (a, b) in enumerate(zip(item, other, strict=False)) if a != b)
    assert shared >= 13 and taken([item], [other]) == [] and taken([item], [item]) == [item]


def test_a_window_is_as_long_as_thirteen_words_in_every_script():
    for script, length in (
        ("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏", 20),
        ("กขฃคฅฆงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรฤลฦวศษสหฬอฮ" * 2, 52),
    ):
        item = script[: length + 4]
        assert taken([item], [f"x {item[:length]} x"]) and not taken([item], [f"x {item[: length - 1]} x"])
    mixed = "one two three four five six seven eight nine 天地玄黄宇宙洪荒 ten eleven"
    assert taken([mixed], [f"well {mixed} so"])
