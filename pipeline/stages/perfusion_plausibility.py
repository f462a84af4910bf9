"""Whether a picture looks like the sheet of an perfusion."""

from pipeline.case import ModelUse
from pipeline.picture_case import SpectCase


class CheckPerfusionCapture:
    name = "plausibility"
    models: tuple[ModelUse, ...] = ()

    def __call__(self, case: SpectCase) -> SpectCase:
        return case
