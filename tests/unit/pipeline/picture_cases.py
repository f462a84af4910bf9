"""Networks that nobody trained, which say what a test wants of any picture; finished cases."""

from pathlib import Path

import torch
from pydicom import Dataset
from torch import nn

from models.picture_classifier import LEAST_FAMILIARITY
from models.registry import Card, build, save_weights
from models.training.cards import write_card
from models.training.recipes import RECIPES
from pipeline.case import (
    FrameSource,
    ModelUse,
    QualityFinding,
    Sources,
    StageRecord,
    Verdict,
)
from pipeline.classification import Classification
from pipeline.picture_case import PictureCase
from pipeline.pictures import ECG_WAVEFORMS, NM_IMAGE
from pipeline.results.class_codes import SUBJECTS
from tests.unit.pipeline.result_cases import PATIENT


def write_network(
    folder: Path, name: str, says: int, logit: float = 6.0, least_familiarity: float | None = None
) -> Card:
    """Write card and weights of an untrained network of a recipe that prefers one class.

    Every picture is as familiar to it: the logarithm of the sum of the exponentials of its logits.
    """
    recipe = RECIPES[name]
    torch.manual_seed(0)
    network = build(recipe.architecture, recipe.parameters)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[says] = logit
    folder.mkdir(parents=True, exist_ok=True)
    digest = save_weights(network, folder / f"{name}.npz")
    card = Card(
        name=name,
        version="untrained",
        task=recipe.task,
        summary="",
        intended_use="Tests.",
        limits="Knows nothing.",
        licence="Apache-2.0",
        data=("Nothing at all, Apache-2.0", "Synthetic noise (tests), Apache-2.0"),
        architecture=recipe.architecture,
        parameters=recipe.parameters,
        input=recipe.input,
        calibration=({} if least_familiarity is None else {LEAST_FAMILIARITY: least_familiarity}),
        metrics={},
        weights_file=f"{name}.npz",
        weights_sha256=digest,
    )
    write_card(card, folder)
    return card


def picture_case(subject: str = "ecg", withheld: str | None = None) -> PictureCase:
    """A finished case of a waveform (ecg) or of two tomograms (spect)."""
    kinds = {"ecg": (ECG_WAVEFORMS[0],), "spect": (NM_IMAGE, NM_IMAGE)}[subject]
    cells, headers = [], {}
    for number, kind in enumerate(kinds, start=1):
        header = Dataset()
        for keyword, value in PATIENT.items():
            setattr(header, keyword, value)
        uid = f"1.2.3.4.{number}.1"
        cells.append(FrameSource(uid, kind, f"1.2.3.4.{number}", None, 0.0))
        headers[uid] = header
    classes = SUBJECTS[subject].classes
    shares = (0.9, *(0.1 / (len(classes) - 1) for _ in range(len(classes) - 1)))
    told = Classification(
        subject=subject,
        training="Research model, trained on: nothing. Not validated.",
        probabilities={} if withheld else dict(zip(classes, shares, strict=True)),
        withheld=withheld,
    )
    doubt = (QualityFinding("classification", Verdict.WITHHELD, withheld),) if withheld else ()
    model = ModelUse("classifier", "1.0.0", "e" * 64, "CC BY 4.0")
    return PictureCase(
        Sources((tuple(cells),), (), 0.0, headers, dict.fromkeys(headers, "f" * 64)),
        quality=(QualityFinding("plausible", Verdict.OK, "a picture of its kind"), *doubt),
        provenance=(StageRecord("classification", 0.1, "cpu", (model,)),),
        classification=told,
        subject=subject,
    )
