"""How the synthetic heart and the thorax around it look in a bSSFP image.

Signals are relative to blood near the heart (1): fat as bright, myocardium about a third, lung
near zero. The scene is drawn in mm about the heart's middle, at the resolution of the image.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.synthetic.heart import Edges, Heart, Section

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
        rows: int,
        columns: int,
        pixel_spacing_mm: tuple[float, float],
        offset_mm: npt.NDArray[np.float64],
        angle: float,
    ) -> "View":
        """See the scene `offset_mm` (down, right) from the image centre, the septum turned."""
        row_mm, column_mm = pixel_spacing_mm
        down = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) * row_mm - offset_mm[0]
        right = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * column_mm
        down, right = np.meshgrid(down, right - offset_mm[1], indexing="ij")
        sine, cosine = np.sin(angle), np.cos(angle)
        septal = -cosine * right - sine * down
        anterior = sine * right - cosine * down
        parts = (part.astype(np.float32) for part in (right, down, septal, anterior))
        return cls(*parts, width_mm=float(np.sqrt(row_mm * column_mm)))

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
        """Radius (mm) and angle of the pixels in a window about an LV axis."""
        septal = self.septal[window] - np.float32(centre[0])
        anterior = self.anterior[window] - np.float32(centre[1])
        return np.hypot(septal, anterior), np.arctan2(anterior, septal)


@dataclass(frozen=True, slots=True)
class Organ:
    """An ellipsoid of one signal: centre and half axes along (right, down, level), mm."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    signal: float
    rind: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Everything of the appearance that is drawn from the seed; lengths in mm, angles in rad."""

    angle: float
    axis: tuple[float, float]
    tilt: tuple[float, float]
    middle_mm: float
    blood: float
    rv_blood: float
    muscle: float
    fat: float
    lung: float
    fat_angle: float
    fat_mm: float
    papillary: tuple[tuple[float, float, float], ...]
    trabecula: tuple[float, float]
    body_axes: tuple[float, float]
    body_centre: tuple[float, float]
    body_angle: float
    rim_mm: float
    diaphragm: tuple[float, float, float]
    organs: tuple[Organ, ...]
    vessels: tuple[Organ, ...]
    coils: tuple[tuple[float, float, float, float], ...]

    def centre_at(self, level_mm: float) -> tuple[float, float]:
        """Where the LV axis meets a level, (septal, anterior)."""
        away = level_mm - self.middle_mm
        return self.axis[0] + self.tilt[0] * away, self.axis[1] + self.tilt[1] * away


def draw_look(random: np.random.Generator, heart: Heart) -> Look:
    """Draw appearance and surroundings for a heart."""
    uniform = random.uniform
    return Look(
        angle=np.radians(uniform(-35, 35)),
        axis=(-0.3 * float(heart.epi_radius_mm[0]), 0.0),
        tilt=(uniform(-0.12, 0.12), uniform(-0.12, 0.12)),
        middle_mm=heart.apex_mm / 2,
        blood=uniform(0.92, 1.08),
        rv_blood=uniform(0.80, 1.0),
        muscle=uniform(0.24, 0.38),
        fat=uniform(0.9, 1.4),
        lung=uniform(0.03, 0.09),
        fat_angle=uniform(-np.pi, np.pi),
        fat_mm=uniform(2, 9),
        papillary=tuple(
            (np.radians(side) + uniform(-0.25, 0.25), uniform(3.5, 6), uniform(0.60, 0.72))
            for side in (125, -130)
        ),
        trabecula=(uniform(0, 2 * np.pi), uniform(0.1, 0.3)),
        body_axes=(uniform(100, 125), uniform(170, 220)),
        body_centre=(uniform(10, 28), uniform(10, 40)),
        body_angle=np.radians(uniform(-14, 14)),
        rim_mm=uniform(9, 30),
        diaphragm=(uniform(40, 52), uniform(-0.25, 0.1), uniform(0.08, 0.2)),
        organs=_draw_organs(random),
        vessels=_draw_vessels(random),
        coils=(
            (uniform(-130, -90), uniform(-40, 20), uniform(60, 95), uniform(0.6, 2.2)),
            (uniform(110, 150), uniform(-20, 60), uniform(70, 110), uniform(0.3, 1.2)),
        ),
    )


def _draw_organs(random: np.random.Generator) -> tuple[Organ, ...]:
    """Liver on the left of the image, stomach and spleen on the right, bowel and kidney below."""
    uniform = random.uniform
    liver = Organ(
        (uniform(-55, -30), uniform(105, 125), uniform(-10, 30)),
        (uniform(70, 95), uniform(60, 75), uniform(90, 130)),
        uniform(0.28, 0.42),
    )
    stomach = Organ(
        (uniform(35, 55), uniform(80, 95), uniform(60, 90)),
        (uniform(28, 42), uniform(24, 36), uniform(40, 70)),
        uniform(0.15, 0.9),
        0.3,
    )
    spleen = Organ(
        (uniform(75, 90), uniform(70, 90), uniform(0, 40)),
        (uniform(18, 28), uniform(30, 42), uniform(40, 60)),
        uniform(0.40, 0.6),
    )
    others = tuple(
        Organ(
            (uniform(-60, 90), uniform(95, 160), uniform(-30, 120)),
            (uniform(10, 24), uniform(10, 24), uniform(25, 60)),
            uniform(0.2, 0.9),
            0.28,
        )
        for _ in range(7)
    )
    return (*others, liver, spleen, stomach)


def _draw_vessels(random: np.random.Generator) -> tuple[Organ, ...]:
    """Descending aorta, pulmonary vessels near the hilum, veins in the liver."""
    uniform = random.uniform
    thick = uniform(9, 13)
    aorta = Organ(
        (uniform(62, 74), uniform(18, 34), -20.0),
        (thick, thick * uniform(1.1, 1.7), 75.0),
        0.95,
        0.25,
    )
    lung = tuple(
        Organ(
            (uniform(-45, 85), uniform(-95, -45), uniform(-30, 70)),
            (uniform(1.5, 4), uniform(1.5, 4), uniform(10, 30)),
            uniform(0.4, 0.9),
        )
        for _ in range(26)
    )
    liver = tuple(
        Organ(
            (uniform(-95, 20), uniform(75, 140), uniform(-30, 90)),
            (uniform(2, 5), uniform(2, 7), uniform(15, 35)),
            uniform(0.6, 0.85),
        )
        for _ in range(12)
    )
    return (*lung, *liver, aorta)


def cover(inside_mm: Float32, width_mm: float) -> Float32:
    """Share of a pixel inside an edge, from the signed distance of its centre."""
    return np.clip(inside_mm * np.float32(1 / width_mm) + np.float32(0.5), 0, 1)


def _blend(image: Float32, share: Float32, signal: float | Float32) -> None:
    """Lay a tissue over the image, in place."""
    image += share * (signal - image)


def paint_thorax(random: np.random.Generator, look: Look, view: View, level_mm: float) -> Float32:
    """Everything but the heart in one slice; [y, x]."""
    image = np.zeros(view.shape, np.float32)
    inside = _body(look, view)
    edge = 1.5 * view.width_mm
    _blend(image, cover(inside, edge), look.fat)
    wall = inside - look.rim_mm * (1 + 0.35 * np.sin(view.down / 45 + look.fat_angle))
    _blend(image, cover(wall, edge), 0.8 * look.muscle)
    ribs = np.sin(view.down / 7.5 + level_mm / 6) * 4.5 - np.abs(wall - 5)
    _blend(image, 0.7 * cover(ribs, edge), 0.5 * look.fat)
    chest = wall - 11
    _blend(image, cover(chest, edge), look.lung)
    abdomen = np.minimum(chest, _below_diaphragm(look, view, level_mm))
    _blend(image, cover(abdomen, edge), 0.25)
    belly = cover(abdomen - 2, edge)
    _blend(image, belly, 0.7 * look.fat)
    for organ in look.organs:
        _paint_organ(image, organ, view, level_mm, belly)
    chest_share = cover(chest, edge)
    for vessel in look.vessels:
        _paint_organ(image, vessel, view, level_mm, chest_share)
    return image * texture(random, view, 0.10)


def _body(look: Look, view: View) -> Float32:
    """Distance inside the skin, roughly, mm."""
    right, down = view.right - look.body_centre[0], view.down - look.body_centre[1]
    sine, cosine = np.sin(look.body_angle), np.cos(look.body_angle)
    across = np.abs(cosine * right + sine * down) / look.body_axes[0]
    along = np.abs(cosine * down - sine * right) / look.body_axes[1]
    distance = (1 - (across**2.6 + along**2.6) ** (1 / 2.6)) * look.body_axes[0]
    return np.asarray(distance, dtype=np.float32)


def _below_diaphragm(look: Look, view: View, level_mm: float) -> Float32:
    """Distance below the dome of the diaphragm, which rises towards the apex, mm."""
    height, slope, rise = look.diaphragm
    dome = height + slope * view.right + view.right**2 / 420 - rise * (level_mm - 40)
    return np.asarray(0.9 * (view.down - dome), dtype=np.float32)


def _paint_organ(image: Float32, organ: Organ, view: View, level_mm: float, share: Float32) -> None:
    depth = ((level_mm - organ.centre[2]) / organ.axes[2]) ** 2
    if depth >= 1:
        return
    right = (view.right - organ.centre[0]) / organ.axes[0]
    down = (view.down - organ.centre[1]) / organ.axes[1]
    inside = (1 - np.sqrt(right**2 + down**2 + depth)) * min(organ.axes[:2])
    if organ.rind is not None:
        _blend(image, share * cover(inside + 2, view.width_mm), organ.rind)
    _blend(image, share * cover(inside, view.width_mm), organ.signal)


def texture(random: np.random.Generator, view: View, strength: float) -> Float32:
    """Smooth multiplicative mottle with a grain of about 3 mm; [y, x], mean 1."""
    rows, columns = view.shape
    white = random.standard_normal((rows, columns))
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    kernel = np.exp(-2 * (np.pi * frequency * 2.0 / view.width_mm) ** 2)
    mottle = np.fft.irfft2(np.fft.rfft2(white) * kernel, s=(rows, columns))
    return np.asarray(1 + strength * mottle / (mottle.std() + 1e-9), dtype=np.float32)


def coil_sensitivity(look: Look, view: View) -> Float32:
    """Smooth sensitivity of the receive coils, 1 at the heart; [y, x]."""

    def at(right: Float32, down: Float32) -> Float32:
        field = np.ones_like(right)
        for across, along, size, strength in look.coils:
            away = ((right - across) ** 2 + (down - along) ** 2) / (2 * size**2)
            field = field + np.float32(strength) * np.exp(-away)
        return field

    return at(view.right, view.down) / at(np.zeros(1, np.float32), np.zeros(1, np.float32))


def paint_heart(
    heart: Heart, look: Look, section: Section, around: Float32, width_mm: float
) -> Float32:
    """One level of the heart over its surroundings, in every phase; [t, y, x]."""
    layers = np.repeat(around[None], len(heart.contraction), axis=0)
    pericardial = look.fat_mm * np.clip(np.cos(section.angle - look.fat_angle), 0, 1)
    trabeculae = _trabeculae(look, section)
    for phase, image in enumerate(layers):
        if section.has_lv(phase):
            edges = section.at(phase)
            _paint_ventricles(image, look, edges, pericardial, trabeculae, width_mm)
            _paint_papillary(image, heart, look, section, edges, phase, width_mm)
        else:
            _paint_atria(image, heart, look, section, phase, width_mm)
    return layers


def _trabeculae(look: Look, section: Section) -> Float32:
    """Ragged inner surface: how far blood signal is lost inside an edge, mm; [y, x]."""
    phase, strength = look.trabecula
    ragged = np.sin(9 * section.angle + phase + section.level_mm / 9) + np.sin(
        14 * section.angle - 2 * phase + section.level_mm / 5
    )
    return np.asarray(strength * 3.0 * ragged, dtype=np.float32)


def _paint_ventricles(
    image: Float32,
    look: Look,
    edges: Edges,
    pericardial: Float32,
    trabeculae: Float32,
    width_mm: float,
) -> None:
    _blend(image, cover(edges.outer_mm + 4 + pericardial, width_mm), look.fat * 0.85)
    _blend(image, cover(edges.outer_mm + 3.5, width_mm), look.muscle)
    _blend(image, cover(edges.rv_mm, width_mm), look.rv_blood)
    ragged = cover(2.5 + 2 * trabeculae - edges.rv_mm, 3.0) * cover(edges.rv_mm, width_mm)
    _blend(image, 0.5 * ragged, look.muscle)
    _blend(image, cover(edges.epi_mm, width_mm), look.muscle)
    _blend(image, cover(edges.endo_mm, width_mm), look.blood)
    ragged = cover(1.0 + 2 * trabeculae - edges.endo_mm, 3.0) * cover(edges.endo_mm, width_mm)
    _blend(image, 0.45 * ragged, look.muscle)


def _paint_papillary(
    image: Float32,
    heart: Heart,
    look: Look,
    section: Section,
    edges: Edges,
    phase: int,
    width_mm: float,
) -> None:
    """Two papillary muscles that stand in the blood between a third and 80 % of the length."""
    share = (section.level_mm - heart.base_mm[phase]) / heart.endo_length_mm[phase]
    strength = float(np.clip((share - 0.25) / 0.1, 0, 1) * np.clip((0.85 - share) / 0.1, 0, 1))
    if strength == 0:
        return
    cavity = float(heart.endo_radius_at(section.level_mm)[phase])
    for angle, size, place in look.papillary:
        turn = section.angle - angle
        along = section.radius_mm * np.cos(turn) - place * cavity
        away = np.hypot(along, section.radius_mm * np.sin(turn))
        inside = np.minimum(min(size, 0.4 * cavity) - away, edges.endo_mm)
        _blend(image, strength * cover(inside, 1.3 * width_mm), look.muscle)


def _paint_atria(
    image: Float32, heart: Heart, look: Look, section: Section, phase: int, width_mm: float
) -> None:
    """Left atrium, right atrium, pulmonary trunk and aortic root above the mitral plane."""
    size = float(heart.epi_radius_mm[0])
    filling = 1 + 0.10 * float(heart.contraction[phase])
    away = (float(heart.base_mm[phase]) - section.level_mm) / size
    septal = section.radius_mm * np.cos(section.angle) / size
    anterior = section.radius_mm * np.sin(section.angle) / size
    chambers = (
        (-0.12 - 0.1 * away, -0.22 - 0.35 * away, 0.86 * filling, 0.68 * filling, look.blood),
        (1.28 - 0.3 * away, -0.45, 0.72 * filling, 0.66 * filling, look.rv_blood),
        (0.95 - 0.35 * away, 0.72 - 0.1 * away, 0.58, 0.42, look.rv_blood),
        (0.48, 0.18, 0.44, 0.42, look.blood),
    )
    insides = [
        np.asarray(
            (1 - np.hypot((septal - s) / across, (anterior - a) / along))
            * (min(across, along) * size),
            dtype=np.float32,
        )
        for s, a, across, along, _ in chambers
    ]
    outer = np.maximum.reduce(insides)
    _blend(image, cover(outer + 6, 2 * width_mm), look.fat * 0.7)
    for inside, chamber in zip(insides, chambers, strict=True):
        _blend(image, cover(inside + 2.5, width_mm), look.muscle)
        _blend(image, cover(inside, width_mm), chamber[4])
