"""The values that travel through the late enhancement chain; see `pipeline.case`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.aha import Septum
from pipeline.case import (
    LV_MYOCARDIUM,
    NO_REFLOW,
    SCAR,
    Biomarker,
    Case,
    Mask,
    ModelUse,
    QualityFinding,
    ShortAxisStack,
    UInt8,
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that is no part of a stack because another one is, and why."""

    sop_instance_uid: str
    series_instance_uid: str
    frame_number: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class LgeStack(ShortAxisStack):
    """One assembled short-axis late enhancement stack: one image per slice, a single "phase".

    Attributes
    ----------
    inversion_times_ms : tuple[z] of float or None
        As the header of each slice states it.
    phase_sensitive : bool
        The images are real-valued (PSIR), remote myocardium is darkest; else magnitudes.
    left_out : tuple of LeftOut
        Images of the same series that other ones replace.
    """

    inversion_times_ms: tuple[float | None, ...]
    phase_sensitive: bool
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class Companion:
    """What was found in the cine of the same patient and study.

    Attributes
    ----------
    series_instance_uids : tuple of str
        Of the cine.
    report_uid : str
        SOP Instance UID of its report; it stands for all that decided the findings.
    frame_of_reference_uid : str
        In which the septum lies.
    septa : tuple of Septum
        Of the slices that show it; may be empty.
    biomarkers : tuple of Biomarker
    quality : tuple of QualityFinding
    models : tuple of ModelUse
        Networks that took part.
    """

    series_instance_uids: tuple[str, ...]
    report_uid: str
    frame_of_reference_uid: str
    septa: tuple[Septum, ...]
    biomarkers: tuple[Biomarker, ...]
    quality: tuple[QualityFinding, ...]
    models: tuple[ModelUse, ...]


@dataclass(frozen=True, slots=True)
class Scar:
    """Scar by one method, and how it was told.

    Attributes
    ----------
    mask : bool [z, y, x]
        No-reflow included.
    how : str
        What the method saw or why it could not tell, for the report; may be empty.
    withheld : str or None
        Why the method gives no number.
    """

    mask: Mask
    how: str = ""
    withheld: str | None = None


@dataclass(frozen=True, slots=True)
class LgeCase(Case):
    """A late enhancement stack and what was found in it.

    Attributes
    ----------
    companion : Companion or None
        The cine of the same study, where one is measured.
    scars : mapping of method to Scar
        By each method, in the order of a report.
    """

    stack: LgeStack
    companion: Companion | None = None
    scars: Mapping[str, Scar] = field(default_factory=dict)

    @property
    def input_digests(self) -> tuple[str, ...]:
        """The images, and the report of the cine beside them."""
        beside = () if self.companion is None else (self.companion.report_uid,)
        return (*self.stack.digests.values(), *beside)

    @property
    def outlines(self) -> UInt8:
        """Label map with scar and no-reflow as the myocardium that they are, [1, z, y, x]."""
        if self.segmentation is None:
            raise ValueError("outlines come after segmentation")
        labels = self.segmentation.labels
        return np.where(np.isin(labels, (SCAR, NO_REFLOW)), np.uint8(LV_MYOCARDIUM), labels)
