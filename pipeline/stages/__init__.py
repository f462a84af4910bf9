"""The stages of the chains: each takes an immutable case and returns a new one.

A stage touches no disk, network or database. Networks are given to its constructor, so that any
callable of the same shape (another method, the true masks of a synthetic heart) can take their
place.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from pipeline.case import BaseCase, Case, CineCase, Float32, Float64, ModelUse, UInt8

if TYPE_CHECKING:
    from models.ed_es_detector import FrameReading
    from models.heart_view import HeartView
    from models.picture_classifier import Reading
    from models.predict import Localisation
    from models.registry import Card
    from models.regressor import RegressedVolume
    from pipeline.picture_case import PictureCase


AnyCase = TypeVar("AnyCase", bound=BaseCase)
StackCase = TypeVar("StackCase", bound=Case)
AnyPicture = TypeVar("AnyPicture", bound="PictureCase")


class CaseStage(Protocol[AnyCase]):
    """One step of a chain for one kind of case.

    Attributes
    ----------
    name : str
        Stands in the provenance.
    models : tuple of ModelUse
        The networks that take part; empty when there are none.
    """

    name: str
    models: tuple[ModelUse, ...]

    def __call__(self, case: AnyCase) -> AnyCase:
        """Return the case with what this stage finds."""
        ...


Stage = CaseStage[CineCase]


class Localiser(Protocol):
    """Finds the heart; `card` describes the network."""

    card: "Card"

    def __call__(self, images: Float32, pixel_spacing_mm: tuple[float, float]) -> "Localisation":
        """Look at whole images [n, y, x] of one stack, of the given (row, column) spacing."""
        ...


class SliceClassifier(Protocol):
    """Tells which slices show the LV; `card` describes the network."""

    card: "Card"

    def __call__(self, images: Float32, pixel_spacing_mm: tuple[float, float]) -> Float64:
        """Look at whole images [n, y, x]; return the probability [n] that each shows the LV."""
        ...

    def grad_cam(self, image: Float32, pixel_spacing_mm: tuple[float, float]) -> Float32:
        """Where in an image [y, x] it sees the LV, 0 to 1."""
        ...


class PictureClassifier(Protocol):
    """Tells what a picture shows; `card` describes the network, `classes` names what it tells."""

    card: "Card"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        ...

    def read(self, picture: UInt8) -> "Reading":
        """Read a picture [y, x, 3]."""
        ...


class DiseaseClassifier(Protocol):
    """Tells the disease group of a heart; `card` describes it, `classes` names what it tells."""

    card: "Card"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        ...

    def read(self, heart: "HeartView") -> "Reading":
        """Read a measured heart."""
        ...


class Segmenter(Protocol):
    """Labels the ventricles; `card` describes the network."""

    card: "Card"

    def __call__(
        self,
        frames: Float32,
        slices: Sequence[int],
        pixel_spacing_mm: tuple[float, float],
        centre_yx: tuple[float, float],
        *,
        careful: bool = False,
    ) -> UInt8:
        """Label slices of frames [t, z, y, x] around a centre (row, column).

        Returns uint8 [t, len(slices), y, x] on the pixels of the frames. It takes its time where
        it is to be careful.
        """
        ...


class Detector(Protocol):
    """Finds ED and ES; `card` describes the network."""

    card: "Card"

    def __call__(
        self,
        frames: Float32,
        pixel_spacing_mm: tuple[float, float],
        centre_yx: tuple[float, float],
    ) -> "tuple[FrameReading, FrameReading]":
        """Read ED and ES from frames [t, z, y, x] of the slices that show the ventricle."""
        ...


class Regressor(Protocol):
    """Measures the LV without contours; `card` describes the network."""

    card: "Card"

    def __call__(
        self,
        images: Float32,
        pixel_spacing_mm: tuple[float, float],
        centre_yx: tuple[float, float],
    ) -> "RegressedVolume":
        """Measure the images [z, y, x] of one phase that show the ventricle."""
        ...


def model_use(card: "Card") -> ModelUse:
    """State the network of a card in the provenance of a case."""
    return ModelUse(card.name, card.version, card.weights_sha256, card.licence)
