"""What is trained for each shipped model: network, crop, sampling."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.preprocess import CropGrid


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is trained.

    Attributes
    ----------
    task : str
        "segmentation" or "localisation".
    architecture : str
        Name in `models.registry.ARCHITECTURES`.
    parameters : mapping
        Arguments of the architecture.
    grid : CropGrid
        Input of the network, in training and (size aside, for the localiser) in service.
    max_shift_mm : float
        The crop is centred at most so far from the LV, along each axis.
    max_scale : float
        Largest random scale where the pixel spacing is known; a set whose spacing is assumed
        gets 15 % more.
    empty_share : float
        Share of a set's draws that go to its slices without LV; they are rare but decide where
        the ventricle ends.
    set_shares : mapping of str to float
        Share of each set in a batch; sets that are absent leave theirs to the others.
    """

    task: str
    architecture: str
    parameters: Mapping[str, int]
    grid: CropGrid
    max_shift_mm: float
    max_scale: float = 1.15
    empty_share: float = 0.06
    set_shares: Mapping[str, float] = field(
        default_factory=lambda: {"acdc": 0.6, "sunnybrook": 0.27, "synthetic": 0.13}
    )


RECIPES: Mapping[str, Recipe] = {
    "cine_unet": Recipe(
        task="segmentation",
        architecture="unet_2d",
        parameters={"width": 16, "levels": 5, "classes": 4},
        grid=CropGrid(rows=128, columns=128, spacing_mm=1.5),
        max_shift_mm=22.0,
    ),
    "heart_localiser": Recipe(
        task="localisation",
        architecture="unet_2d",
        parameters={"width": 8, "levels": 5, "classes": 4},
        grid=CropGrid(rows=128, columns=128, spacing_mm=3.0, supersample=2),
        max_shift_mm=170.0,
        max_scale=1.25,
    ),
}
