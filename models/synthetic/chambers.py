"""How the chambers of the synthetic heart look in a bSSFP image: bright blood, dark muscle."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.synthetic.heart import Heart
from models.synthetic.section import Edges, Section
from models.synthetic.view import Float, Float32, blend, cover


@dataclass(frozen=True, slots=True)
class Look:
    """Pose and tissue of one heart, drawn from a seed; lengths in mm, angles in rad.

    Attributes
    ----------
    angle : how far the septum is turned in the image
    axis, tilt, middle_mm : where the LV axis meets the level `middle_mm`, (septal, anterior),
        and how far it moves per mm of level
    blood, rv_blood, muscle, fat : signals
    fat_angle, fat_mm : where the pericardial fat is thickest, and how thick
    papillary : (angle, radius, share of the cavity radius) of each papillary muscle
    trabecula : (phase, strength) of the ragged inner surface
    """

    angle: float
    axis: tuple[float, float]
    tilt: tuple[float, float]
    middle_mm: float
    blood: float
    rv_blood: float
    muscle: float
    fat: float
    fat_angle: float
    fat_mm: float
    papillary: tuple[tuple[float, float, float], ...]
    trabecula: tuple[float, float]

    def centre_at(self, level_mm: float) -> tuple[float, float]:
        """Where the LV axis meets a level, (septal, anterior)."""
        away = level_mm - self.middle_mm
        return self.axis[0] + self.tilt[0] * away, self.axis[1] + self.tilt[1] * away


def draw_look(random: np.random.Generator, heart: Heart, fat: float) -> Look:
    """Draw pose and tissue for a heart; `fat` is the fat signal of the body."""
    uniform = random.uniform
    return Look(
        angle=np.radians(uniform(-35, 35)),
        axis=(-0.3 * float(heart.epi_radius_mm[0]), 0.0),
        tilt=(uniform(-0.15, 0.15), uniform(-0.15, 0.15)),
        middle_mm=heart.apex_mm / 2,
        blood=uniform(0.95, 1.15),
        rv_blood=uniform(0.80, 1.0),
        muscle=uniform(0.24, 0.38),
        fat=0.85 * fat,
        fat_angle=uniform(-1.8, 0.6),
        fat_mm=uniform(1, 10),
        papillary=tuple(
            (np.radians(side) + uniform(-0.25, 0.25), uniform(3.5, 6), uniform(0.60, 0.75))
            for side in (125, -130)
        ),
        trabecula=(uniform(0, 2 * np.pi), uniform(0.4, 1.3)),
    )


@dataclass(frozen=True)
class Painter:
    """Paints one level of the heart, phase by phase."""

    heart: Heart
    look: Look
    section: Section
    width_mm: float

    def paint(self, around: Float32) -> Float32:
        """The heart over its surroundings [y, x], in every phase; [t, y, x]."""
        layers = np.repeat(around[None], len(self.heart.contraction), axis=0)
        for phase, image in enumerate(layers):
            if self.section.has_lv(phase):
                self._ventricles(image, self.section.at(phase))
                self._papillary(image, phase)
            else:
                self._atria(image, phase)
        return layers

    @cached_property
    def _septal_mm(self) -> Float32:
        return self.section.radius_mm * np.cos(self.section.angle)

    @cached_property
    def _anterior_mm(self) -> Float32:
        return self.section.radius_mm * np.sin(self.section.angle)

    @cached_property
    def _pericardial_mm(self) -> Float32:
        look, angle = self.look, self.section.angle
        uneven = np.cos(angle - look.fat_angle) + 0.6 * np.cos(3 * angle + look.fat_angle)
        return np.asarray(look.fat_mm * np.clip(uneven, 0, None), dtype=np.float32)

    @cached_property
    def _ragged_mm(self) -> Float32:
        """How far the trabeculae reach into the blood; [y, x]."""
        phase, strength = self.look.trabecula
        angle, level = self.section.angle, self.section.level_mm
        waves = np.sin(9 * angle + phase + level / 9) + np.sin(14 * angle - 2 * phase + level / 5)
        return np.asarray(strength * (1.5 + 1.5 * waves), dtype=np.float32)

    def _ventricles(self, image: Float32, edges: Edges) -> None:
        look, width = self.look, self.width_mm
        blend(image, cover(edges.outer_mm + 4 + self._pericardial_mm, width), look.fat)
        blend(image, cover(edges.outer_mm + 3.0, width), look.muscle)
        self._blood(image, edges.rv_mm, 1.5, look.rv_blood)
        blend(image, cover(edges.epi_mm, width), look.muscle)
        self._blood(image, edges.endo_mm, 0.8, look.blood)

    def _blood(self, image: Float32, inside_mm: Float32, ragged: float, signal: float) -> None:
        """Blood with its trabeculated edge."""
        share = cover(inside_mm, self.width_mm)
        blend(image, share, signal)
        rough = np.float32(0.65) * share * cover(ragged * self._ragged_mm - inside_mm, 3.0)
        blend(image, rough, self.look.muscle)

    def _papillary(self, image: Float32, phase: int) -> None:
        """Two papillary muscles in the blood, between a third and 80 % of the length."""
        heart, section = self.heart, self.section
        share = (section.level_mm - heart.base_mm[phase]) / heart.endo_length_mm[phase]
        strength = float(np.clip((share - 0.25) / 0.1, 0, 1) * np.clip((0.85 - share) / 0.1, 0, 1))
        cavity = float(heart.endo_radius_at(section.level_mm)[phase])
        if strength == 0 or cavity == 0:
            return
        for angle, size, place in self.look.papillary:
            turn = angle + 0.5 * (share - 0.5)
            septal = self._septal_mm - np.float32(place * cavity * np.cos(turn))
            anterior = self._anterior_mm - np.float32(place * cavity * np.sin(turn))
            inside = min(size * (1.25 - 0.6 * share), 0.36 * cavity) - np.hypot(septal, anterior)
            blend(
                image, np.float32(strength) * cover(inside, 1.4 * self.width_mm), self.look.muscle
            )

    def _atria(self, image: Float32, phase: int) -> None:
        """Left atrium, right atrium, pulmonary trunk and aortic root above the valve plane."""
        look, width = self.look, self.width_mm
        insides = [self._ellipse(phase, *chamber) for chamber in _chambers(self._above(phase))]
        outer = np.maximum.reduce(insides)
        blend(image, cover(outer + 5 + self._pericardial_mm, 2 * width), look.fat)
        blend(image, cover(outer + 2, width), look.muscle)
        signals = (look.blood, look.rv_blood, look.rv_blood, 0.95 * look.blood)
        for inside, signal in zip(insides, signals, strict=True):
            blend(image, 0.75 * cover(inside + 1.6, 1.5 * width), look.muscle)
            blend(image, cover(inside, 1.5 * width), signal)

    def _above(self, phase: int) -> float:
        """Height over the valve plane, in radii of the shell."""
        height = self.heart.base_mm[phase] - self.section.level_mm
        return float(height / self.heart.epi_radius_mm[0])

    def _ellipse(
        self, phase: int, centre: tuple[float, float], axes: tuple[float, float], pulse: float
    ) -> Float:
        """Distance inside a chamber; centre and axes in radii of the shell."""
        size = float(self.heart.epi_radius_mm[0])
        swell = size * (1 + pulse * float(self.heart.contraction[phase]))
        septal = (self._septal_mm - np.float32(centre[0] * size)) / np.float32(axes[0] * swell)
        anterior = (self._anterior_mm - np.float32(centre[1] * size)) / np.float32(axes[1] * swell)
        uneven = 1 + 0.06 * np.sin(3 * np.arctan2(anterior, septal) + self.look.fat_angle)
        return np.asarray((uneven - np.hypot(septal, anterior)) * (min(axes) * swell))


def _chambers(
    above: float,
) -> tuple[tuple[tuple[float, float], tuple[float, float], float], ...]:
    """Centre (septal, anterior), axes and systolic swelling of LA, RA, pulmonary trunk, aorta."""
    return (
        ((-0.12 - 0.1 * above, -0.22 - 0.35 * above), (0.86, 0.68), 0.10),
        ((1.25 - 0.3 * above, -0.40), (0.78, 0.72), 0.08),
        ((0.95 - 0.35 * above, 0.70 - 0.1 * above), (0.60, 0.42), 0.0),
        ((0.48, 0.16), (0.44, 0.42), 0.04),
    )
