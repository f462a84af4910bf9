"""How many pictures and PDFs that are neither ECG sheet nor perfusion display are refused."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset

from config.schema import EcgSettings
from models.ecg_classifier import EcgClassifier
from models.perfusion_classifier import PerfusionClassifier
from models.picture_classifier import PictureClassifier
from models.registry import names
from pipeline.case import UInt8
from pipeline.ecg_input import read_document
from pipeline.errors import Rejection
from pipeline.results import write_results
from pipeline.results.page import set_document
from pipeline.stages.ecg_plausibility import sheet_features, why_no_sheet
from pipeline.stages.perfusion_plausibility import why_no_display
from tests.unit.pipeline import pdfs
from tests.unit.pipeline.decoys import decoys
from tests.unit.pipeline.lge_cases import lge_case
from tests.unit.pipeline.result_cases import CONTEXT, make_case
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
    _tell_documents(data)
    for name, classifier in (
        ("ecg_dual_branch", EcgClassifier),
        ("spect_mobilenet", PerfusionClassifier),
    ):
        if name in names():
            _tell_network(classifier(), [picture for _, picture in decoys(data, _DECOYS)])


def _tell_documents(data: Path | None) -> None:
    """Print the same of PDFs as if each called itself an ECG."""
    shown: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for kind, document in _documents(data):
        shown[kind] += 1
        refused[kind] += _why_no_document(document) is not None
    print("| PDF | shown | refused as ECG |")
    print("| --- | --- | --- |")
    for kind, count in shown.items():
        print(f"| {kind} | {count} | {refused[kind]} |")
    print(f"| all | {shown.total()} | {refused.total()} |")
    drawn = [_why_no_document(pdfs.ecg_pdf(seed)) for seed in _SHEETS]
    scans = (pdfs.scan_pdf(ecg_sheet(seed, handled=True)) for seed in _SHEETS)
    between = [
        _why_no_document(pdfs.joined([pdfs.letter_pdf(), pdfs.ecg_pdf(seed), pdfs.letter_pdf()]))
        for seed in _DISPLAYS
    ]
    for name, whys in (
        ("ECG sheets as lines", drawn),
        ("ECG sheets, printed and scanned (JPEG)", [_why_no_document(scan) for scan in scans]),
        ("ECG sheets between two letters", between),
    ):
        print(f"PDF, {name}: {sum(why is None for why in whys)} of {len(whys)} accepted")


def _documents(data: Path | None) -> Iterator[tuple[str, bytes]]:
    for size in ((8.27, 11.69), (11.69, 8.27), (8.5, 11), (11, 8.5)):
        yield "letter", pdfs.letter_pdf(size)
        yield "letter of three pages", pdfs.joined([pdfs.letter_pdf(size)] * 3)
    for case in (make_case(), lge_case()):
        for item in write_results(case, CONTEXT, ("legacy",)):
            if item.role == "pdf":
                yield "report of the node", item.dataset.EncapsulatedDocument
    for seed in _DECOYS:
        yield "two ECGs", pdfs.joined([pdfs.ecg_pdf(seed), pdfs.ecg_pdf(seed + 1)])
        yield "half an ECG", pdfs.ecg_pdf(seed)[:40_000]
    yield "empty page", pdfs.raw_pdf()
    yield "strip", pdfs.raw_pdf(box="0 0 842 60")
    yield "encrypted", pdfs.encrypted_pdf()
    yield "letter of eleven pages", pdfs.joined([pdfs.letter_pdf()] * 11)
    yield "picture of a gigabyte", pdfs.picture_bomb(20_000)
    yield "forms that draw each other", pdfs.endless_pdf()
    for _, picture in decoys(data, _DECOYS):
        yield "scan of a picture above", pdfs.scan_pdf(picture)


def _why_no_document(content: bytes) -> str | None:
    dataset = Dataset()
    set_document(dataset, content)
    try:
        return why_no_sheet(sheet_features(read_document(dataset).picture))
    except Rejection as rejection:
        return rejection.reason


def _tell_network(classifier: PictureClassifier, pictures: list[UInt8]) -> None:
    """Print how many of the same pictures the network alone would withhold."""
    readings = [classifier.read(picture) for picture in pictures]
    strange = sum(one.is_strange for one in readings)
    unsure = sum(max(one.probabilities) < _SURE for one in readings)
    print(
        f"{classifier.card.name} alone, of {len(readings)}: {strange} unlike what it learned from, "
        f"{unsure} with less confidence than {_SURE}"
    )
