"""The case of what is no stack: a picture, and what it was made of."""

from dataclasses import dataclass, field

import numpy as np

from pipeline.case import BaseCase, UInt8


@dataclass(frozen=True, slots=True)
class PictureCase(BaseCase):
    """A picture and what a network sees in it.

    Attributes
    ----------
    stack : Sources
        The instances that the picture was made of.
    subject : str
        As in `Classification`.
    picture : uint8 [y, x, 3]
        Red, green, blue. Empty when `unshown` says why there is none.
    drawn : bool
        The node drew it itself, from a waveform or from tomograms that it found plausible.
    unshown : str or None
    """

    subject: str = ""
    picture: UInt8 = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    drawn: bool = False
    unshown: str | None = None
