"""Scar beside the network: by signal intensity, within the wall that the network drew."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, Float32, Mask, ModelUse
from pipeline.lge_case import LgeCase, Scar
from pipeline.scar import NoRemoteMyocardium, ScarResult, scar_fwhm, scar_n_sd

_METHODS: Mapping[str, Callable[[Float32, Mask, Mask], ScarResult]] = {
    "2sd": partial(scar_n_sd, n=2),
    "5sd": partial(scar_n_sd, n=5),
    "fwhm": scar_fwhm,
}


class MeasureScar:
    """Scar by 2 and 5 SD above remote myocardium, and by full width at half maximum."""

    name = "scar"
    models: tuple[ModelUse, ...] = ()

    def __call__(self, case: LgeCase) -> LgeCase:
        """Return the case with the scar of each method; needs its label map."""
        (wall,) = case.outlines
        image, myocardium, cavity = case.stack.frames[0], wall == LV_MYOCARDIUM, wall == LV_CAVITY
        found = {
            name: _scar(method, image, myocardium, cavity) for name, method in _METHODS.items()
        }
        return replace(case, scars={**case.scars, **found})


def _scar(
    method: Callable[[Float32, Mask, Mask], ScarResult],
    image: Float32,
    myocardium: Mask,
    cavity: Mask,
) -> Scar:
    try:
        result = method(image, myocardium, cavity)
    except NoRemoteMyocardium as error:
        return Scar(myocardium & False, withheld=str(error))
    if result.threshold is None:
        return Scar(result.mask, "no hyper-enhanced region was found")
    share = result.remote.mask.sum() / myocardium.sum()
    return Scar(result.mask, f"remote myocardium was found in {share:.0%} of the wall")
