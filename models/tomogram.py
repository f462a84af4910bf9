"""A tomogram in space: counts on a grid of voxels, and its trilinear values anywhere."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tomogram:
    """Counts of a reconstructed tomogram.

    Attributes
    ----------
    counts : float32 [z, y, x]
    affine : float64 [4, 4]
        Voxel index (x, y, z, 1) to mm; of a transaxial volume patient coordinates (LPS).
    """

    counts: Float32
    affine: Float64

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxel centres along x, y and z."""
        steps = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(steps[0]), float(steps[1]), float(steps[2])

    def positions_mm(self) -> Float64:
        """Centre of every voxel; [z, y, x, 3]."""
        z, y, x = np.meshgrid(*map(np.arange, self.counts.shape), indexing="ij")
        indices = np.stack([x, y, z], axis=-1)
        return np.asarray(indices @ self.affine[:3, :3].T + self.affine[:3, 3])

    def at(self, points_mm: Float64) -> Float32:
        """Trilinear values [...] at points [..., 3] in mm; 0 outside the voxel centres."""
        inverse = np.linalg.inv(self.affine)
        places = points_mm @ inverse[:3, :3].T + inverse[:3, 3]
        size = np.array(self.counts.shape[::-1])
        inside = ((places >= 0) & (places <= size - 1)).all(axis=-1)
        low = np.clip(places, 0, np.maximum(size - 2, 0)).astype(np.intp)
        x, y, z = np.moveaxis((places - low).astype(np.float32), -1, 0)
        steps = np.array([1, size[0], size[0] * size[1]])
        further = [np.where(size > 1, steps, 0) * corner for corner in np.ndindex(2, 2, 2)]
        corners = low @ steps + np.sum(further, axis=1).reshape(8, *[1] * x.ndim)
        values = self.counts.reshape(-1)[corners]  # by x, y and z, z the fastest
        for part in (x, y, z):
            half = len(values) // 2
            values = values[:half] + part * (values[half:] - values[:half])
        return np.asarray(np.where(inside, values[0], 0), dtype=np.float32)


def blurred(values: Float64, fwhm_mm: float, spacing_mm: tuple[float, float, float]) -> Float64:
    """Values [z, y, x] under a Gaussian of this full width at half maximum; wraps around.

    Parameters
    ----------
    values : float64 [z, y, x]
    fwhm_mm : float
    spacing_mm : (x_mm, y_mm, z_mm)
    """
    sigma_mm = fwhm_mm / np.sqrt(8 * np.log(2))
    spectrum = np.fft.rfftn(values)
    for axis, step in enumerate(reversed(spacing_mm)):
        frequency = np.fft.rfftfreq if axis == 2 else np.fft.fftfreq
        response = np.exp(-2 * (np.pi * sigma_mm * frequency(values.shape[axis], step)) ** 2)
        shape = [1, 1, 1]
        shape[axis] = len(response)
        spectrum *= response.reshape(shape)
    return np.asarray(np.fft.irfftn(spectrum, values.shape, axes=(0, 1, 2)), dtype=np.float64)
