"""The language of a text, by py3langid's model of byte n-grams; offline and deterministic."""

from functools import cache

UNCLEAR = "unclear"
CHARS = 2_000  # of a text; more changes nothing
LEAST = 0.5  # probability below which no language is named
_WRITTEN_AS = {"wuu": "zh", "yue": "zh"}  # the model tells Chinese texts apart by topic rather than by language


@cache
def _model():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language(text: str) -> str:
    """ISO 639 code of the text's language, or `unclear`, also for texts without letters."""
    text = text[:CHARS]
    if not any(c.isalpha() for c in text):
        return UNCLEAR
    code, probability = _model().classify(text)
    return _WRITTEN_AS.get(code, code) if probability >= LEAST else UNCLEAR
