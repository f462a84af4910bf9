"""Whether a picture looks like the sheet of an ECG."""

from pipeline.case import ModelUse
from pipeline.picture_case import PictureCase


class CheckEcgSheet:
    name = "plausibility"
    models: tuple[ModelUse, ...] = ()

    def __call__(self, case: PictureCase) -> PictureCase:
        return case
