"""Texts of pairs and guidelines as HTML that can hold no markup of theirs: Markdown with everything unsafe left as written."""

import functools
import html

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markupsafe import Markup
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

LONGEST = 200_000  # characters; a longer text is shown as written only
# Links and images would load or lead elsewhere, HTML and entities would not be shown as they are written.
OFF = ["link", "image", "autolink", "reference", "html_inline", "html_block", "entity"]
_BLOCKS = ("paragraph_open", "heading_open", "bullet_list_open", "ordered_list_open", "blockquote_open", "table_open")


def _code(text: str, language: str, _attributes: str) -> str:
    try:
        lexer = get_lexer_by_name(language.strip()) if language.strip() else None
    except ClassNotFound:
        lexer = None
    if lexer is None:
        return html.escape(text)
    return highlight(text, lexer, HtmlFormatter(nowrap=True, classprefix="k-"))


def _newline(state: StateInline, silent: bool) -> bool:
    """A line ends; what the next one begins with stays, since that may be the indentation of code without a fence."""
    if state.src[state.pos] != "\n":
        return False
    if not silent:
        state.push("softbreak", "br", 0)
    state.pos += 1
    return True


@functools.cache
def _parser() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "linkify": False, "highlight": _code, "maxNesting": 30})
    made.enable(["table", "strikethrough"]).disable(OFF)
    made.inline.ruler.at("newline", _newline)
    made.add_render_rule("softbreak", lambda *_: "\n")  # lines stay lines: the page keeps white space
    return made


@functools.lru_cache(maxsize=256)
def formatted(text: str, top: int = 4) -> Markup:
    """A text with its Markdown. Every block takes its direction from its own first letter.

    Args:
        text: as it came.
        top: level of the page's headings below which those of the text stand.
    """
    if len(text) > LONGEST:
        return Markup("")
    made = _parser()
    tokens = made.parse(text)
    for token in tokens:
        if token.type in _BLOCKS and token.level == 0:  # one inside another would hide its letters from the outer one
            token.attrSet("dir", "auto")
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + top - 1)}"
    return Markup(made.renderer.render(tokens, made.options, {}))


def sections(text: str) -> list[tuple[str, Markup, bool]]:
    """A guideline by its headings of the first and second level: (heading, rest, whether it is of this kind of task)."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith(("# ", "## ")):
            found.append((line.lstrip("# ").strip(), []))
        elif found:
            found[-1][1].append(line)
    own = next((i for i, (heading, _) in enumerate(found) if heading.startswith("Task:")), 0)
    return [(heading, formatted("\n".join(lines).strip()), i >= own) for i, (heading, lines) in enumerate(found)]
