"""Finds personal data with presidio's recognisers: patterns with checksums, libphonenumber, and names where a spaCy model
is installed. Nothing leaves the machine."""

import re
from collections.abc import Callable
from functools import lru_cache

from curation.redaction import SENSITIVITY, Finding, apart, sensitivity
from resources.settings import ConfigError, Personal

# What any of the patterns needs; texts without it are not looked at again. A phone number has at least six digits.
_MAYBE = re.compile(
    r"@|(?:\d[ ()./\-]{0,3}){6}|\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:|(?:[0-9A-Fa-f]{2}-){5}|"
    r"\b(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25,}"
)
Scan = Callable[[str], list[Finding]]


def scanner(settings: Personal) -> Scan:
    """A function that finds the personal data of one text, the surest of overlapping findings each.

    Raises:
        ConfigError: a package that is needed is not installed.
    """
    try:
        import tldextract
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer import predefined_recognizers as known
        from presidio_analyzer.nlp_engine import NoOpNlpEngine, SpacyNlpEngine
    except ImportError as e:
        raise ConfigError(
            "personal: the scan needs the package `presidio-analyzer`: pip install 'assay[personal]'"
        ) from e
    # domains by the list that comes with the package; by default it asks the network for a newer one
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    recognizers = [
        known.EmailRecognizer(),
        known.IbanRecognizer(),
        known.CreditCardRecognizer(),
        known.IpRecognizer(),
        known.MacAddressRecognizer(),
        known.CryptoRecognizer(),
        known.UsSsnRecognizer(),
        known.PhoneRecognizer(supported_regions=settings.regions),
    ]
    if settings.model:
        import spacy

        if not spacy.util.is_package(settings.model):
            raise ConfigError(f"personal.model: the spaCy package {settings.model!r} is not installed")
        recognizers.append(known.SpacyRecognizer(supported_entities=["PERSON"]))
    engine = (SpacyNlpEngine if settings.model else NoOpNlpEngine)(
        [{"lang_code": "en", "model_name": settings.model or "-"}]
    )
    engine.load()
    analyzer = AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=recognizers, supported_languages=["en"]),
        nlp_engine=engine,
        supported_languages=["en"],
    )

    @lru_cache(maxsize=4096)  # a conversation comes with each of its pairs
    def scan(text: str) -> list[Finding]:
        if not settings.model and not _MAYBE.search(text):
            return []
        found = analyzer.analyze(text, language="en", score_threshold=settings.least_score)
        return apart(
            Finding(r.start, r.end, r.entity_type, round(r.score, 4), sensitivity(r.entity_type, text[r.start : r.end]))
            for r in found
            if r.entity_type in SENSITIVITY
        )

    return scan
