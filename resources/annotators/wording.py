"""What is wrong with an answer, in the words of a form."""

# The part of the form that a reason is about, by how the reason begins, and how the form says it; '' for as it is.
FORM = (
    ("verdict must be one of", "verdict", "Choose a candidate, or say that it cannot be decided."),
    ("the verdict", "verdict", ""),
    ("why_undecided", "why", "Say why it cannot be decided."),
    ("the guideline is not acknowledged", "acknowledged", "Tick that you have read the guideline and apply it."),
    ("guideline", "acknowledged", "The guideline has changed since you opened this pair: load the page again."),
    ("tools is missing", "tools", "Say which tools you used, or that you used none."),
    (
        "tool_log, entry",
        "tools",
        "Each use of a tool needs what was asked or what it said; assistants only from the list.",
    ),
    ("the use of", "tools", ""),
    ("tools", "tools", ""),
    (
        "the only evidence",
        "rationale",
        "The only evidence is a model's: give the difference that decided in your own words.",
    ),
)


def in_form(reason: str) -> dict[str, str]:
    """A reason as the form shows it: beside which part, in which words."""
    for begin, field, words in FORM:
        if reason.startswith(begin):
            return {"field": field, "reason": words or reason}
    return {"field": "tools" if "tools needs" in reason else "", "reason": reason}
