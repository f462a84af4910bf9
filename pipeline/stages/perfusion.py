"""From the tomograms of a perfusion study to the sheet that its classifier sees."""

from dataclasses import replace

from pipeline.case import ModelUse
from pipeline.errors import Rejection
from pipeline.picture_case import SpectCase
from pipeline.spect_input import perfusion_study


class LayOutPerfusion:
    """Choose stress and rest and lay both out as a sheet; say what is missing where one is."""

    name = "preparation"
    models: tuple[ModelUse, ...] = ()

    def __call__(self, case: SpectCase) -> SpectCase:
        """Return the case with its picture, or with the reason why there is none."""
        if not case.drawn:
            return case
        try:
            study = perfusion_study(case.views)
        except Rejection as rejection:
            return replace(case, unshown=rejection.reason)
        chosen = {study.stress.sop_instance_uid, study.rest.sop_instance_uid}
        (cells,) = case.stack.sources
        stack = replace(
            case.stack,
            sources=(tuple(one for one in cells if one and one.sop_instance_uid in chosen),),
            missing=(*case.stack.missing, *study.notes),
        )
        return replace(case, stack=stack, picture=study.picture())
