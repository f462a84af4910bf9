"""The thorax around the synthetic heart: chest wall, lungs, mediastinal fat, abdomen, vessels.

Lengths in mm from the heart's middle, (right, down, level); signals relative to blood (1).
"""

from dataclasses import dataclass

import numpy as np

from models.synthetic.heart import Heart
from models.synthetic.view import Float, Float32, View, blend, cover, texture


@dataclass(frozen=True, slots=True)
class Organ:
    """An ellipsoid of one signal, with a rind of another if it has one."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    signal: float
    rind: float | None = None


@dataclass(frozen=True, slots=True)
class Thorax:
    """One body, drawn from a seed.

    Attributes
    ----------
    centre, axes, turn : the trunk's oval (mm, rad)
    waves : harmonics (order, amplitude, phase) of the skin over the oval
    rim_mm : thickness of the fat below the skin
    muscle, fat, lung : signals
    dome : (depth below the heart's middle, slope to the right, rise towards the apex)
    pads : mediastinal fat around the heart
    organs, vessels : in the abdomen; in lung, liver and mediastinum
    coils : (right, down, reach, gain) of the receive coils
    """

    centre: tuple[float, float]
    axes: tuple[float, float]
    turn: float
    waves: tuple[tuple[int, float, float], ...]
    rim_mm: float
    muscle: float
    fat: float
    lung: float
    dome: tuple[float, float, float]
    pads: tuple[Organ, ...]
    organs: tuple[Organ, ...]
    vessels: tuple[Organ, ...]
    coils: tuple[tuple[float, float, float, float], ...]

    def paint(self, random: np.random.Generator, view: View, level_mm: float) -> Float32:
        """Everything but the heart in one slice; [y, x]."""
        image = np.zeros(view.shape, np.float32)
        width = view.width_mm
        inside = self._inside_skin(view)
        blend(image, cover(inside, 1.5 * width), self.fat * texture(random, view, 0.12, 5))
        wall = inside - self._rim(view, level_mm)
        blend(image, cover(wall, 1.5 * width), self.muscle * texture(random, view, 0.18, 3))
        blend(image, 0.8 * cover(self._strands(view, wall), 2 * width), 0.6 * self.fat)
        cavity = wall - self._wall_mm(view)
        chest = cover(cavity, 1.5 * width)
        blend(image, chest, self.lung)
        for pad in self.pads:
            _paint(image, pad, view, level_mm, chest)
        below = np.minimum(cavity, self._below_dome(view, level_mm))
        blend(image, cover(below, width), 0.2)
        belly = cover(below - 2.5, width)
        blend(image, belly, 0.75 * self.fat)
        for organ in self.organs:
            _paint(image, organ, view, level_mm, belly)
        for vessel in self.vessels:
            _paint(image, vessel, view, level_mm, chest)
        return image * texture(random, view, 0.05)

    def coil_sensitivity(self, view: View) -> Float32:
        """Smooth sensitivity of the receive coils, 1 at the heart; [y, x]."""
        at_heart = self._field(np.zeros(1), np.zeros(1))
        return (self._field(view.right, view.down) / at_heart).astype(np.float32)

    def _field(self, right: Float, down: Float) -> Float:
        field = np.ones_like(right)
        for across, along, reach, gain in self.coils:
            away = ((right - across) ** 2 + (down - along) ** 2) / (2 * reach**2)
            field = field + gain * np.exp(-away)
        return np.asarray(field)

    def _inside_skin(self, view: View) -> Float:
        """Distance inside the skin, roughly."""
        right, down = view.right - self.centre[0], view.down - self.centre[1]
        sine, cosine = np.sin(self.turn), np.cos(self.turn)
        across = (cosine * right + sine * down) / self.axes[0]
        along = (cosine * down - sine * right) / self.axes[1]
        around = np.arctan2(along, across)
        reach = sum(size * np.cos(order * around + phase) for order, size, phase in self.waves)
        oval = (np.abs(across) ** 2.5 + np.abs(along) ** 2.5) ** (1 / 2.5)
        return np.asarray((1 + reach - oval) * self.axes[0])

    def _rim(self, view: View, level_mm: float) -> Float:
        """Thickness of the fat below the skin: thinner at the back, thicker below."""
        uneven = 0.3 * np.sin(view.down / 40 + level_mm / 60) + 0.15 * np.sin(view.down / 17)
        return np.asarray(self.rim_mm * (1 + uneven + 0.003 * (view.down - view.right)))

    def _wall_mm(self, view: View) -> Float:
        """Thickness of ribs and muscle: thin in front (left), thick back muscles (right)."""
        back = np.clip((view.right - 40) / 60, 0, 1)
        return np.asarray(9 + 14 * back + 2 * np.sin(view.down / 11))

    def _strands(self, view: View, wall: Float) -> Float:
        """Fat between ribs and muscle layers: distance inside."""
        ribs = 4 * np.sin(view.down / 6.5 + view.right / 30) - np.abs(wall - 5)
        layers = 1.2 * np.sin(view.down / 23) - np.abs(wall - 13 - 3 * np.sin(view.down / 15))
        return np.asarray(np.maximum(ribs, layers))

    def _below_dome(self, view: View, level_mm: float) -> Float:
        """Distance below the diaphragm, which rises towards the apex."""
        depth, slope, rise = self.dome
        dome = depth + slope * view.right + view.right**2 / 380 - rise * (level_mm - 40)
        return np.asarray(0.9 * (view.down - dome))


def draw_thorax(random: np.random.Generator, heart: Heart) -> Thorax:
    """Draw a body that the heart fits into: it rests on the diaphragm, near the front wall."""
    uniform = random.uniform
    size = float(heart.epi_radius_mm[0])
    fat, muscle = uniform(0.7, 1.2), uniform(0.15, 0.28)
    half = uniform(105, 135)
    dome = (size + uniform(-4, 4), uniform(-0.15, 0.15), uniform(0.05, 0.2))
    return Thorax(
        centre=(half - uniform(92, 105), uniform(10, 40)),
        axes=(half, uniform(170, 235)),
        turn=np.radians(uniform(-16, 16)),
        waves=tuple((order, uniform(0, 0.08 / order), uniform(-3, 3)) for order in (2, 3, 5)),
        rim_mm=uniform(7, 26),
        muscle=muscle,
        fat=fat,
        lung=uniform(0.03, 0.10),
        dome=dome,
        pads=_draw_pads(random, heart, 0.8 * fat),
        organs=_draw_organs(random, dome[0]),
        vessels=_draw_vessels(random, dome[0]),
        coils=(
            (uniform(-130, -90), uniform(-40, 20), uniform(60, 95), uniform(0.3, 1.6)),
            (uniform(110, 150), uniform(-20, 60), uniform(70, 110), uniform(0.2, 0.9)),
        ),
    )


def _draw_pads(random: np.random.Generator, heart: Heart, fat: float) -> tuple[Organ, ...]:
    """Fat below and in front of the heart, and the mediastinum behind its base."""
    uniform = random.uniform
    size, middle = float(heart.epi_radius_mm[0]), heart.apex_mm / 2
    front = Organ(
        (-1.2 * size - uniform(15, 30), 0.75 * size, middle + uniform(-5, 10)),
        (uniform(32, 48), uniform(14, 26), uniform(35, 55)),
        fat,
    )
    below = Organ(
        (uniform(-10, 20), 0.9 * size, middle + uniform(0, 30)),
        (uniform(30, 45), uniform(8, 16), uniform(35, 55)),
        fat,
    )
    behind = Organ(
        (uniform(5, 25), uniform(-10, 10), -40.0),
        (uniform(55, 70), uniform(45, 60), uniform(38, 50)),
        0.5 * fat,
        0.2,
    )
    return behind, front, below


def _draw_organs(random: np.random.Generator, dome_mm: float) -> tuple[Organ, ...]:
    """Liver on the left of the image, stomach and spleen on the right, bowel and kidney below."""
    uniform = random.uniform
    liver = Organ(
        (uniform(-55, -30), dome_mm + uniform(60, 75), uniform(-10, 30)),
        (uniform(70, 95), uniform(60, 75), uniform(90, 130)),
        uniform(0.28, 0.42),
    )
    stomach = Organ(
        (uniform(35, 55), dome_mm + uniform(38, 48), uniform(60, 90)),
        (uniform(28, 42), uniform(24, 36), uniform(40, 70)),
        uniform(0.15, 0.9),
        0.3,
    )
    spleen = Organ(
        (uniform(70, 88), dome_mm + uniform(30, 50), uniform(0, 40)),
        (uniform(18, 28), uniform(30, 42), uniform(40, 60)),
        uniform(0.40, 0.6),
    )
    others = tuple(
        Organ(
            (uniform(-60, 90), dome_mm + uniform(50, 115), uniform(-30, 120)),
            (uniform(10, 24), uniform(10, 24), uniform(25, 60)),
            uniform(0.2, 0.9),
            0.28,
        )
        for _ in range(7)
    )
    return (*others, liver, spleen, stomach)


def _draw_vessels(random: np.random.Generator, dome_mm: float) -> tuple[Organ, ...]:
    """Vessels of lung and liver, and the descending aorta."""
    uniform = random.uniform
    lung = tuple(
        Organ(
            (uniform(-45, 85), uniform(-100, -35), uniform(-40, 80)),
            (uniform(1.2, 3.5), uniform(1.2, 5), uniform(6, 30)),
            uniform(0.3, 0.9),
        )
        for _ in range(40)
    )
    liver = tuple(
        Organ(
            (uniform(-95, 20), dome_mm + uniform(25, 95), uniform(-30, 90)),
            (uniform(2, 5), uniform(2, 8), uniform(15, 35)),
            uniform(0.6, 0.85),
        )
        for _ in range(12)
    )
    thick = uniform(9, 13)
    aorta = Organ(
        (uniform(62, 74), uniform(12, 30), -20.0),
        (thick, thick * uniform(1, 1.6), 80.0),
        0.95,
        0.25,
    )
    return (*lung, *liver, aorta)


def _paint(image: Float32, organ: Organ, view: View, level_mm: float, share: Float32) -> None:
    depth = ((level_mm - organ.centre[2]) / organ.axes[2]) ** 2
    if depth >= 1:
        return
    right = (view.right - organ.centre[0]) / organ.axes[0]
    down = (view.down - organ.centre[1]) / organ.axes[1]
    inside = (1 - np.sqrt(right**2 + down**2 + depth)) * min(organ.axes[:2])
    if organ.rind is not None:
        blend(image, share * cover(inside + 2, view.width_mm), organ.rind)
    blend(image, share * cover(inside, 1.5 * view.width_mm), organ.signal)
