"""The rule that decides stage 2, in words; sql/votes.sql and sql/decisions.sql apply it."""

RULE_VERSION = "1"


def rule_id(policy: str, threshold: float, band: float) -> str:
    """Names the rule on every row it decided: version, policy and thresholds.

    >>> rule_id("symmetric", 0.5, 0.0)
    'v1 symmetric threshold=0.5 band=0.0'
    """
    return f"v{RULE_VERSION} {policy} threshold={threshold} band={band}"
