"""Published figures and those to reach, to stand beside what is measured.

nnU-Net on the ACDC test patients: Isensee et al., Nature Methods 2021,
doi:10.1038/s41592-020-01008-z. Scar: best of the EMIDEC challenge (Lalande et al., Medical Image
Analysis 2022, doi:10.1016/j.media.2022.102428). Frame errors: the method that the detector follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A figure to reach: at least `reach` for a Dice, at most so much for an error.

    Attributes
    ----------
    statistic : str
        Key of `models.training.metrics.statistics` that it speaks of.
    reach : float
    published : str
        As the literature has it; empty where it says nothing.
    """

    statistic: str
    reach: float
    published: str = ""

    def met(self, figures: Mapping[str, float]) -> bool:
        """Whether the statistic of a figure reaches it."""
        value = figures[self.statistic]
        return value >= self.reach if self.statistic == "mean" else value <= self.reach


def _dice(reach: Mapping[str, tuple[str, float]]) -> dict[str, Target]:
    """Targets of Dice by structure and phase, from (published, to reach)."""
    return {
        f"dice_{name}": Target("mean", value, published)
        for name, (published, value) in reach.items()
    }


def _errors(ef: float, volume: float) -> dict[str, Target]:
    return {
        "lv_ef_error": Target("mean_absolute", ef, "readers differ by 3-4"),
        "lv_edv_error_ml": Target("mean_absolute", volume, "cross-vendor medians below 8.4"),
        "lv_esv_error_ml": Target("mean_absolute", volume, "cross-vendor medians below 8.4"),
    }


_ACDC = _errors(2.7, 6.0) | _dice(
    {
        "lv_ed": ("0.967", 0.965),
        "lv_es": ("0.928", 0.918),
        "rv_ed": ("0.946", 0.94),
        "rv_es": ("0.904", 0.89),
        "myo_ed": ("0.896", 0.89),
        "myo_es": ("0.919", 0.908),
    }
)
_UNSEEN = _errors(4.0, 9.0) | _dice(
    {
        "lv_ed": ("", 0.94),
        "lv_es": ("", 0.88),
        "rv_ed": ("", 0.88),
        "rv_es": ("", 0.8),
        "myo_ed": ("", 0.82),
        "myo_es": ("", 0.82),
    }
)
_OTHER_SET = _dice({"lv_ed": ("", 0.93), "lv_es": ("", 0.87)})
_SCAR = {
    "dice_myo": Target("mean", 0.86, "0.879"),
    "dice_infarct": Target("mean", 0.62, ""),
    "dice_infarct_all_cases": Target("mean", 0.62, "0.712"),
    "dice_no_reflow": Target("mean", 0.6, ""),
    "dice_no_reflow_all_cases": Target("mean", 0.6, "0.785"),
}
_VOLUME_ALONE = {
    "lv_edv_error_ml": Target("mean_absolute", 12.0, "9.1 (r 0.95, slope 0.81)"),
    "dice_lv_ed_raw": Target("mean", 0.72, "0.72"),
    "dice_lv_ed_dilated": Target("mean", 0.79, "0.79"),
}
FRAMES = {
    "ed_error_frames": Target("mean_absolute", 0.3, "0"),
    "es_error_frames": Target("mean_absolute", 1.0, "1.24"),
}
LOSS_POINTS = 2.0
NOT_COMPARABLE: Mapping[str, str] = {
    "ecg_classification": "The network that this one follows is published with an accuracy of "
    "0.891 and sensitivities of 0.84 (normal), 0.91 (abnormal heartbeat), 0.94 (infarction) and "
    "0.88 (history of infarction), precisions of 0.88, 0.93, 0.91 and 0.84, on 240 pictures of "
    "each. These do not compare: its 928 pictures were multiplied to 4,800 before they were "
    "split, so copies of one picture lie on both sides; the same part served to choose and to "
    "measure; and its first branch came pretrained on ImageNet. Here infarctions are synthetic, "
    "and their figures say nothing of patients.",
    "perfusion_classification": "The network that this one follows is published with an accuracy "
    "of 0.91, sensitivities of 0.98 (normal, n 47), 0.72 (ischemia, n 18) and 1.00 (infarction, "
    "n 3), and precisions of 0.90, 0.93 and 1.00. These do not compare: its 68 test pictures are "
    "three displays each of one hospital's patients, and nothing says that the displays of a "
    "patient lie on one side of the split; three are infarctions; pictures of ischemia made by a "
    "generator were added to fit and to choose; and it came pretrained on ImageNet. Here synthetic "
    "studies are measured, and their figures say nothing of patients.",
    "disease_classification": "Entries of the ACDC challenge that classify from measured numbers "
    "are published with an accuracy of 0.92 to 0.96 on its own 50 test patients, which are not "
    "these. The network for images that ours follows is published with an accuracy of 0.988 on "
    "slices. That does not compare: its 24,408 images (every slice of every phase) were split one "
    "by one, so nearly the same image of a patient lies on both sides; its region was cut from the "
    "true masks, those of its test images too; it came pretrained on ImageNet; and it tells no "
    "figure of patients.",
}
"""What is published for a task and stands beside its figures although it does not compare."""


def targets(dataset: str, task: str, *, seen: bool) -> Mapping[str, Target]:
    """What figures of a set are to reach.

    Parameters
    ----------
    dataset : str
    task : str
        Of the card of the model.
    seen : bool
        Whether the weights were fitted on other patients of the same set.
    """
    if task == "volume_regression":
        return _VOLUME_ALONE
    if task == "scar_segmentation":
        return _SCAR if dataset == "emidec" else {}
    if task in ("slice_classification", *NOT_COMPARABLE):
        return {}
    known = dataset.removesuffix("_official")
    if seen:
        return _ACDC if known == "acdc" else {}
    return _OTHER_SET if known in ("acdc", "sunnybrook") else _UNSEEN
