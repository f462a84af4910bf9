"""How many pictures that are neither ECG sheet nor perfusion display are refused."""

import os
from collections import Counter
from pathlib import Path

from config.schema import EcgSettings
from models.ecg_classifier import EcgClassifier
from models.perfusion_classifier import PerfusionClassifier
from models.picture_classifier import PictureClassifier
from models.registry import names
from pipeline.case import UInt8
from pipeline.stages.ecg_plausibility import sheet_features, why_no_sheet
from pipeline.stages.perfusion_plausibility import why_no_display
from tests.unit.pipeline.decoys import decoys
from tests.unit.pipeline.test_picture_plausibility import display, ecg_sheet

# No threshold was set on pictures of these seeds.
_DECOYS, _SHEETS, _DISPLAYS = range(100, 105), range(200, 260), range(200, 224)

_SURE = EcgSettings().min_confidence


def run() -> None:
    """Print a table by kind of picture."""
    data = Path(os.environ["DICOM_NODE_DATA"]) if "DICOM_NODE_DATA" in os.environ else None
    shown: Counter[str] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    for kind, picture in decoys(data, _DECOYS):
        shown[kind] += 1
        refused[kind, "sheet"] += why_no_sheet(sheet_features(picture)) is not None
        refused[kind, "display"] += why_no_display(picture) is not None
    print("| picture | shown | refused as ECG sheet | refused as perfusion display |")
    print("| --- | --- | --- | --- |")
    for kind, count in shown.items():
        print(f"| {kind} | {count} | {refused[kind, 'sheet']} | {refused[kind, 'display']} |")
    totals = [sum(refused[kind, name] for kind in shown) for name in ("sheet", "display")]
    print(f"| all | {shown.total()} | {totals[0]} | {totals[1]} |")
    sheets = [why_no_sheet(sheet_features(ecg_sheet(n, handled=True))) for n in _SHEETS]
    displays = [why_no_display(display(seed)) for seed in _DISPLAYS]
    for name, whys in (("ECG sheets, printed and scanned", sheets), ("displays", displays)):
        print(f"{name}: {sum(why is None for why in whys)} of {len(whys)} accepted")
    for name, classifier in (
        ("ecg_dual_branch", EcgClassifier),
        ("spect_mobilenet", PerfusionClassifier),
    ):
        if name in names():
            _tell_network(classifier(), [picture for _, picture in decoys(data, _DECOYS)])


def _tell_network(classifier: PictureClassifier, pictures: list[UInt8]) -> None:
    """Print how many of the same pictures the network alone would withhold."""
    readings = [classifier.read(picture) for picture in pictures]
    strange = sum(one.is_strange for one in readings)
    unsure = sum(max(one.probabilities) < _SURE for one in readings)
    print(
        f"{classifier.card.name} alone, of {len(readings)}: {strange} unlike what it learned from, "
        f"{unsure} with less confidence than {_SURE}"
    )
