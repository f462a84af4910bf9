"""The synthetic heart cut at one level: signed distances to its walls, phase by phase.

Labels and image are both drawn from these distances, so they agree exactly.
"""

from dataclasses import dataclass

import numpy as np

from models.synthetic.heart import Heart
from models.synthetic.view import Float32


@dataclass(frozen=True, slots=True)
class Edges:
    """Signed distances to the walls at each pixel of a slice in one phase, mm, inside positive.

    `outer_mm` is the outer surface of both ventricles, RV wall not counted.
    """

    endo_mm: Float32
    epi_mm: Float32
    rv_mm: Float32
    outer_mm: Float32


@dataclass(frozen=True, slots=True)
class Section:
    """The heart cut at one level, on a grid of pixels in polar coordinates about the LV axis."""

    heart: Heart
    level_mm: float
    radius_mm: Float32
    angle: Float32
    endo: Float32
    epi: Float32

    @classmethod
    def of(cls, heart: Heart, level_mm: float, radius_mm: Float32, angle: Float32) -> "Section":
        """Cut the heart at a level; radius and angle are [y, x]."""
        endo = heart.endo(angle).astype(np.float32)
        epi = heart.epi(angle).astype(np.float32)
        return cls(heart, level_mm, radius_mm, angle, endo, epi)

    def has_lv(self, phase: int) -> bool:
        """Whether the level lies below the valve plane."""
        return bool(self.level_mm >= self.heart.base_mm[phase])

    def has_rv(self, phase: int) -> bool:
        """Whether the level lies between the valve plane and the RV apex."""
        return self.has_lv(phase) and self.level_mm < self.heart.rv_apex_mm

    def at(self, phase: int) -> Edges:
        """Distances to the walls in one phase; negative everywhere where a wall is absent."""
        far = np.full_like(self.radius_mm, -1e3)
        if not self.has_lv(phase):
            return Edges(far, far, far, far)
        heart = self.heart
        shell = np.float32(heart.epi_radius_at(self.level_mm)[phase]) * self.epi
        cavity = np.float32(heart.endo_radius_at(self.level_mm)[phase]) * self.endo
        free = shell + self._rv_depth(phase)
        epi_mm = _inside(shell, self.radius_mm)
        outer_mm = np.maximum(epi_mm, _inside(free, self.radius_mm))
        rv_mm = np.minimum(free - self.radius_mm, -epi_mm) if self.has_rv(phase) else far
        return Edges(_inside(cavity, self.radius_mm), epi_mm, rv_mm, outer_mm)

    def _rv_depth(self, phase: int) -> Float32:
        heart = self.heart
        share = float(heart.rv_share_at(self.level_mm)[phase])
        depth = heart.rv_depth_mm[phase] * heart.crescent(self.angle, share)
        return np.asarray(depth, dtype=np.float32)


def _inside(wall_mm: Float32, radius_mm: Float32) -> Float32:
    """Distance inside a wall; far outside where the wall has no radius."""
    return np.where(wall_mm > 0, wall_mm - radius_mm, np.float32(-1e3))
