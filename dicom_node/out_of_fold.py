"""Hearts of known disease group, measured by the node's own chain: to learn from, and to judge by.

`dicom-node study out-of-fold` measures those to learn from by networks that never saw them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from config.schema import CineSettings
from dicom_node.measure import plain_stack
from pipeline.case import CineCase
from pipeline.cine import cine_stages
from pipeline.disease import NoViewError, heart_view
from pipeline.errors import Rejection
from pipeline.stages import DiseaseClassifier, Localiser, Segmenter

if TYPE_CHECKING:
    from models.backend import Backend
    from models.split import Part
    from models.training.hearts import HeartCase

SEGMENTER = "cine_unet"  # of the two that segment the one that learns in half the time

Measure = Callable[[str], tuple[CineCase, str]]
"""What the chain finds in a patient of a name, and the group that the set says."""


def out_of_fold(
    data: Path,
    output: Path,
    *,
    folds: int,
    steps: int,
    backend: "Backend",
    say: Callable[[str], None],
) -> Mapping["Part", Path]:
    """Measure the patients of ACDC to learn from; goes on where an earlier call stopped.

    The train part is dealt into folds; for each a segmenting network is trained by its recipe on
    the others, and measures it. The validation part, which no network was fitted on, is measured
    by the networks of the default settings.

    Parameters
    ----------
    data : Path
        Folder of the labelled sets, with ACDC.
    output : Path
        Of the training: networks in `folds`, hearts in `prepared`.
    folds, steps : int
        How many folds, and optimiser steps of the network of each.
    backend : Backend
    say : callable
        Told the progress.

    Returns
    -------
    mapping of part to Path
        The array files.
    """
    from models.predict import HeartLocaliser, StackSegmenter
    from models.split import patients, refuse_unfit
    from models.training import acdc
    from models.training.case_file import write_cases
    from models.training.cases import logged, usable
    from models.training.folds import folds_of, train_without
    from models.training.hearts import path_of

    localiser = HeartLocaliser(CineSettings().localiser, backend)

    def measured(names: Iterable[str], segmenter: Segmenter) -> "Iterator[HeartCase]":
        measure = measure_acdc(data, localiser, segmenter)
        for _, heart in hearts_of(names, measure, logged("acdc")):
            say(f"{heart.patient}: measured")
            yield heart

    def of_train() -> "Iterator[HeartCase]":
        names = patients("acdc", "train")
        refuse_unfit("acdc", names)
        read = usable(names, lambda name: acdc.read_patient(data, name)[0], logged("acdc"))
        groups = {volume.patient: volume.group for volume in read}
        for number, fold in enumerate(folds_of(groups, folds), start=1):
            say(f"fold {number} of {folds}: {len(fold)} patients left out")
            place = output / "folds" / f"{number}-of-{folds}"
            trained = train_without(
                SEGMENTER, fold, data, place, steps=steps, device=backend.device, say=say
            )
            yield from measured(fold, StackSegmenter(SEGMENTER, backend, trained))

    def of_validation() -> "Iterator[HeartCase]":
        segmenter = StackSegmenter(CineSettings().segmenter, backend)
        yield from measured(patients("acdc", "validation"), segmenter)

    made: Mapping[Part, Callable[[], Iterator[HeartCase]]] = {
        "train": of_train,
        "validation": of_validation,
    }
    written = {part: path_of(output / "prepared", "acdc", part) for part in made}
    for part, path in written.items():
        if not path.is_file():
            write_cases(path, made[part]())
    return written


def measure_acdc(
    data: Path,
    localiser: Localiser,
    segmenter: Segmenter,
    disease: DiseaseClassifier | None = None,
) -> Measure:
    """How the cine chain measures ED and ES of a patient of ACDC, whose frames are known."""
    from models.training import acdc
    from models.training.cases import CaseError

    settings = CineSettings(min_phases_for_detection=2)
    stages = cine_stages(settings, localiser, segmenter, disease=disease)

    def measure(name: str) -> tuple[CineCase, str]:
        ed, es = acdc.read_patient(data, name)
        images = np.stack([ed.images, es.images])
        case = CineCase(plain_stack(images, ed.pixel_spacing_mm, ed.slice_spacing_mm))
        try:
            for stage in stages:
                case = stage(case)
        except Rejection as rejection:
            raise CaseError(f"the chain rejects it: {rejection}") from rejection
        return case, ed.group

    return measure


def hearts_of(
    names: Iterable[str], measure: Measure, left_out: Callable[[str, str], None]
) -> "Iterator[tuple[CineCase, HeartCase]]":
    """Patients of ACDC as measured, and what the classifiers see of them.

    One that cannot be measured is told to `left_out` with the reason, and the rest go on.
    """
    from models.training.cases import CaseError, usable
    from models.training.hearts import case_of_view

    def heart_of(name: str) -> "tuple[CineCase, HeartCase]":
        case, group = measure(name)
        try:
            view = heart_view(case)
        except NoViewError as error:
            raise CaseError(str(error)) from error
        return case, case_of_view(view, "acdc", name, group)

    return usable(names, heart_of, left_out)
