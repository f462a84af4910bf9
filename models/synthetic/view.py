"""The pixel grid of one synthetic slice, and the brushes that paint on it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.floating]
Float32 = npt.NDArray[np.float32]
Window = tuple[slice, slice]
_REACH_MM = 105.0  # no part of the heart lies further from the LV axis


@dataclass(frozen=True, slots=True)
class View:
    """Pixel centres of one slice in mm from the heart's middle.

    Attributes
    ----------
    right, down : float32 [y, x]
        Along the image axes.
    septal, anterior : float32 [y, x]
        Along the heart's own axes: towards the RV, and towards the anterior wall.
    width_mm : float
        Pixel size, over which an edge is blurred.
    """

    right: Float32
    down: Float32
    septal: Float32
    anterior: Float32
    width_mm: float

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        pixel_spacing_mm: tuple[float, float],
        offset_mm: Float,
        angle: float,
    ) -> "View":
        """See the scene from an image of this shape (rows, columns).

        The heart's middle lies `offset_mm` (down, right) from the image centre; at `angle` 0 (rad)
        the RV is on the left and the anterior wall above, a positive one lifts the RV.
        """
        row_mm, column_mm = pixel_spacing_mm
        rows = (np.arange(shape[0]) - (shape[0] - 1) / 2) * row_mm - offset_mm[0]
        columns = (np.arange(shape[1]) - (shape[1] - 1) / 2) * column_mm - offset_mm[1]
        down, right = np.meshgrid(rows, columns, indexing="ij")
        sine, cosine = np.sin(angle), np.cos(angle)
        return cls(
            right=right.astype(np.float32),
            down=down.astype(np.float32),
            septal=(-cosine * right - sine * down).astype(np.float32),
            anterior=(sine * right - cosine * down).astype(np.float32),
            width_mm=float(np.sqrt(row_mm * column_mm)),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.right.shape
        return rows, columns

    def window(self, centre: tuple[float, float]) -> Window:
        """Rows and columns that hold the whole heart about an LV axis at (septal, anterior)."""
        near = np.hypot(self.septal - centre[0], self.anterior - centre[1]) < _REACH_MM
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def polar(self, centre: tuple[float, float], window: Window) -> tuple[Float32, Float32]:
        """Radius (mm) and angle of the pixels in a window about an LV axis; each [y, x]."""
        septal = self.septal[window] - np.float32(centre[0])
        anterior = self.anterior[window] - np.float32(centre[1])
        return np.hypot(septal, anterior), np.arctan2(anterior, septal)


def cover(inside_mm: Float, width_mm: float) -> Float32:
    """Share of a pixel inside an edge, from the signed distance of its centre."""
    share = np.asarray(inside_mm, dtype=np.float32) * np.float32(1 / width_mm)
    return np.asarray(np.clip(share + np.float32(0.5), 0, 1), dtype=np.float32)


def blend(image: Float32, share: Float32, signal: float | Float32) -> None:
    """Lay a tissue over the image, in place."""
    image += share * (np.float32(signal) - image)


def texture(
    random: np.random.Generator, view: View, strength: float, grain_mm: float = 2.0
) -> Float32:
    """Smooth multiplicative mottle of mean 1; [y, x]."""
    rows, columns = view.shape
    white = random.standard_normal((rows, columns))
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    kernel = np.exp(-2 * (np.pi * frequency * grain_mm / view.width_mm) ** 2)
    mottle = np.fft.irfft2(np.fft.rfft2(white) * kernel, s=(rows, columns))
    return np.asarray(1 + strength * mottle / (mottle.std() + 1e-9), dtype=np.float32)
