"""Texts of others where they are shown: nothing in them steers what shows them."""

_SHOWN = {n: 0x2400 + n for n in range(0x20) if chr(n) not in "\t\n"}  # ESC as ␛: Unicode has a picture for each
_SHOWN |= {0x7F: 0x2421}
_SHOWN |= dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)


def visible(text: str) -> str:
    """The text with its control characters shown instead of obeyed: C0 and C1, but for tabs and ends of lines, and what
    turns the direction of writing."""
    return text.translate(_SHOWN)
