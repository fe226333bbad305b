"""What every figure is drawn on and how it leaves: as SVG in a page, as PNG in a file or in Dagster's UI.

Equal figures have equal bytes. matplotlib is imported when the first one is drawn.
"""

import base64
import io
import re
import warnings
from functools import cache
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GOOD, BAD, MIXED, PLAIN, QUIET = "#23856d", "#b8452f", "#c9892b", "#2b6591", "#8b97a3"
INK, SOFT, LINE = "#1d2730", "#5b6874", "#dde3e8"
WIDTH = 1000  # of a figure in a page, in points; the page scales it
POINTS = 72  # an inch
TIP = "tip: "  # begins the gid of a part that says something when it is pointed at

HALO = "halo"  # gid of text that stands over other things


@cache
def _figures() -> "type[Figure]":
    """matplotlib's figures, in this house's manner."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams.update(
        {
            "text.parse_math": False,  # a label may hold dollars
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.fonttype": "none",
            "svg.hashsalt": "assay",
        }
    )
    return Figure


def panels(width: float, height: float, number: int = 1, columns: int = 1, **shared) -> "tuple[Figure, list[Axes]]":
    """(a figure of so many inches, its panels in reading order); what does not fill the last row is left out."""
    figure = _figures()((width, height), layout="constrained")
    axes = figure.subplots(-(-number // columns), columns, squeeze=False, **shared).ravel().tolist()
    for axis in axes[number:]:
        axis.remove()
    return figure, axes[:number]


def strip(height: float, left: float = 0, right: float = 0, top: float = 0, foot: float = 0) -> "tuple[Figure, Axes]":
    """A figure as wide as a page and one panel with margins of so many points, without a frame."""
    figure = _figures()((WIDTH / POINTS, height / POINTS))
    within = (left / WIDTH, foot / height, 1 - (left + right) / WIDTH, 1 - (foot + top) / height)
    axis = figure.add_axes(within, frameon=False)
    axis.tick_params("x", bottom=False, labelsize=12, labelcolor=SOFT)
    axis.tick_params("y", left=False, labelsize=13, labelcolor=INK, pad=8)
    axis.set_axisbelow(True)
    return figure, axis


def dot(axis: "Axes", x: float, y: float, colour: str, points: float, **named) -> None:
    """A point of so many points across: a circle, since a marker would refer to another part of the drawing."""
    from matplotlib.patches import Circle
    from matplotlib.transforms import ScaledTranslation

    at = ScaledTranslation(x, y, axis.transData)  # ty: ignore[invalid-argument-type]  the stub is too narrow
    place = axis.figure.dpi_scale_trans + at
    axis.add_artist(Circle((0, 0), points / 2 / POINTS, transform=place, color=colour, linewidth=0, zorder=3, **named))


def svg(figure: "Figure", title: str) -> str:
    """For a page, whose fonts it takes: text stays text, nothing refers to anything, and a part whose gid begins with
    `TIP` explains itself.

    Raises:
        ValueError: it holds markers or several equal parts, which are drawn by reference.
    """
    out = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has others
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    width, height = figure.get_size_inches() * POINTS
    text = "".join(out.getvalue().partition("<g id=")[1:])
    if "<use" in text:
        raise ValueError(f"{title}: a part is drawn by reference; draw lines and patches, and points with `dot`")
    text = re.sub(r"<defs>.*?</defs>", "", text, flags=re.DOTALL)
    text = re.sub(rf'<g id="{TIP}([^"]*)">', r"<g><title>\1</title>", text)
    text = text.replace(f'<g id="{HALO}">', f'<g class="{HALO}">')
    text = re.sub(r' (?:id|clip-path)="[^"]*"| font-family: [^;"]*;|\n *', "", text)
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">{text}'


def png(figure: "Figure") -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def embedded(picture: bytes) -> str:
    """A PNG as Markdown that needs no file."""
    return f"![plot](data:image/png;base64,{base64.b64encode(picture).decode()})"
