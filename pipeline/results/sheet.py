"""One A4 page of a result, drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.results.codes import QUANTITIES, in_report
from pipeline.results.common import DISCLAIMER, ResultBasis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

A4_IN = (8.27, 11.69)
# Whatever an installation sets for itself: the same result gives the same page.
_STYLE = {"pdf.fonttype": 42, "font.family": "DejaVu Sans", "font.size": 8.0}


@contextmanager
def draw_sheet(basis: ResultBasis) -> Iterator["Figure"]:
    """Draw the page of a result; the style holds until it is left."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        figure = Figure(figsize=A4_IN)
        figure.text(0.06, 0.97, DISCLAIMER, fontweight="bold")
        for row, one in enumerate(basis.contents.biomarkers):
            said = "not computed" if one.value is None else in_report(one.value, one.unit)
            y = 0.93 - 0.014 * row
            figure.text(0.06, y, QUANTITIES[one.name].code.meaning)
            figure.text(0.5, y, f"{said} {one.unit}")
        yield figure
