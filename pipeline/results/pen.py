"""Writes lines of text down a page."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT, RULE, RED = "#1a1a1a", "#666666", "#c4c4c4", "#b3261e"
AMBER = "#9a6700"
SMALL_CHARACTERS, SMALL_LINE = 145, 0.85  # of 6 points in a line, and their height in lines
LEFT, RIGHT = 0.07, 0.93

_LINE = 0.0118  # of the page's height, at 7 points


@dataclass(slots=True)
class Pen:
    """Writes lines down the page; `y` is where the next one stands."""

    figure: "Figure"
    y: float

    def write(self, text: str, x: float = LEFT, size: float = 7, **look: Any) -> None:
        """Write at the height of the line, without going on to the next."""
        whole: dict[str, Any] = {"fontsize": size, "color": INK, "va": "top"} | look
        self.figure.text(x, self.y, text, **whole)

    def down(self, lines: float = 1) -> None:
        """Go on to another line."""
        self.y -= self.height_of(lines)

    @staticmethod
    def height_of(lines: float) -> float:
        """Share of the page's height."""
        return lines * _LINE

    def rule(self) -> None:
        """Draw a line across the page."""
        from matplotlib.lines import Line2D

        self.figure.add_artist(Line2D([LEFT, RIGHT], [self.y, self.y], color=RULE, linewidth=0.6))
        self.down(0.6)
