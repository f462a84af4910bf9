"""The cases of what is no stack: a picture, and what it was made of."""

from dataclasses import dataclass, field

import numpy as np

from pipeline.case import BaseCase, UInt8
from pipeline.spect_input import PerfusionView


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
        Red, green, blue; empty while there is none.
    drawn : bool
        The node draws it itself, from a waveform or from tomograms.
    unshown : str or None
        Why there is no picture to classify; the class is withheld for it.
    """

    subject: str = ""
    picture: UInt8 = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    drawn: bool = False
    unshown: str | None = None


@dataclass(frozen=True, slots=True)
class SpectCase(PictureCase):
    """A perfusion study: its tomograms, each with the left ventricle in it, or a capture."""

    views: tuple[PerfusionView, ...] = ()
