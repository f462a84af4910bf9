"""Tables of the conformance statement about the objects that the node writes, from such objects."""

import importlib
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_keyword, dictionary_VR
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.uid import UID

import pipeline.results
from config.schema import PROFILES
from pipeline import headers
from pipeline.case import Verdict
from pipeline.companion import companion_of
from pipeline.results import ResultContext, ResultObject, key_images, source, write_results
from pipeline.results.class_codes import SUBJECTS
from pipeline.results.codes import PRIVATE_SCHEME, QUANTITIES, STRUCTURES
from pipeline.results.common import EarlierObject
from pipeline.results.profiles import profiles_of
from pipeline.results.source import tolerant_headers
from tests.integration.conformance_network import table
from tests.unit.pipeline.lge_cases import lge_case
from tests.unit.pipeline.picture_cases import picture_case
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    PATIENT,
    make_case,
    make_regression,
    read,
    series_per_slice,
)
from tests.unit.pipeline.test_lge import cine_findings

# A second place, time and version: what differs from the first is no fixed value.
_ELSEWHERE = ResultContext(
    series_seed="1.2.3.4.1",
    instance_number=2,
    created_at=datetime(2032, 1, 2, 3, 4, 5, tzinfo=UTC),
    timezone="America/Sao_Paulo",
    institution="",
    station_name="",
    software_version="9.9.9",
    settings_digest="e" * 64,
    numeric_backend="other",
    supersedes=(
        EarlierObject("sr", "2.25.1", "1.2.840.10008.5.1.4.1.1.88.34", "2.25.2"),
        EarlierObject("seg_ed", "2.25.3", "1.2.840.10008.5.1.4.1.1.66.4", "2.25.4"),
    ),
)
_BARE = {
    **dict.fromkeys(("PatientSize", "PatientWeight", "StudyDescription", "Manufacturer")),
    "ManufacturerModelName": None,
    "PatientName": "Roe^Richard",
    "FrameOfReferenceUID": "1.9",
}
_CODE = {"CodeValue", "CodingSchemeDesignator", "CodeMeaning"}
_COPIED = "as in the images"
_FROM_SOURCE = {
    *(*source._VERBATIM, *source._TYPE_2, *source._TYPE_3),
    *(*key_images._TYPE_1, *key_images._TYPE_2, *key_images._TYPE_3),
}
_OF_SOURCE = {PATIENT["Manufacturer"], PATIENT["ManufacturerModelName"]}
_TEXT = ("CS", "LO", "SH", "LT", "ST", "UT")
_FEW = 4
# Where a value is no fixed word; by the names of the attribute and of the sequences around it.
_SAID: Mapping[str, str] = {
    "ImplementationVersionName": "DICOMNODE_ and the version of the product",
    "MediaStorageSOPInstanceUID": "that of the data set",
    "ContentDate": "when the result was asked for, in the time zone of the site",
    "ContentTime": "likewise",
    "InstanceCreationDate": "likewise",
    "InstanceCreationTime": "likewise",
    "InstanceNumber": "1; higher in each result that supersedes",
    "SOPInstanceUID": "2.25 and a hash of all that decides the content",
    "SeriesInstanceUID": "2.25 and a hash of the source series and role; kept, but of key images",
    "SeriesNumber": "see the objects",
    "SeriesDescription": "see the objects",
    "EncapsulatedDocument": "the page, PDF",
    "ContentLabel": "ED, ES or LGE, and SEGMENTATION or EXPLANATION; or WITHDRAWN",
    "SoftwareVersions": "version of the product",
    "InstitutionName": "`[site] institution`",
    "StationName": "`[site] station_name`",
    "TimezoneOffsetFromUTC": "`[site] timezone`",
    "DeviceSerialNumber": "`[site] station_name`, else unnamed",
    "FrameOfReferenceUID": "of the first image",
    "PixelData": "one bit per pixel",
    "SegmentSequence/SegmentLabel": "see the segments",
    "SegmentSequence/SegmentAlgorithmName": "name of the network",
    "SegmentSequence/TrackingID": "label and phase",
    "SegmentSequence/TrackingUID": "the same in each result of a stack",
    "SegmentSequence/RecommendedDisplayCIELabValue": "see the segments",
    **{
        f"SegmentSequence/SegmentationAlgorithmIdentificationSequence/{keyword}": words
        for keyword, words in (
            ("AlgorithmName", "name of the network"),
            ("AlgorithmVersion", "its version"),
            ("AlgorithmParameters", "SHA-256 of its weights"),
        )
    },
    **{
        f"ContributingEquipmentSequence/{keyword}": words
        for keyword, words in (
            ("ManufacturerModelName", "name of the scanner, the network or the analysis"),
            ("SoftwareVersions", "version of the network or the product"),
            ("DeviceSerialNumber", "`[site] station_name`, else unnamed"),
            ("DeviceUID", "a hash of the weights, or of the site"),
            ("ContributionDescription", "weights and licence of a network; the settings' SHA-256"),
        )
    },
}


@cache
def samples() -> tuple[ResultObject, ...]:
    """Objects of cases that differ in all that may decide which attributes are written."""
    withheld = {"lv_edv": "no LV", "bsa": "no height", "lv_mass_index": "no height"}
    reviewed = make_case(header=_BARE, withheld=withheld)
    doubts = tuple(
        replace(one, verdict=Verdict.REVIEW, concerns=("lv_esv",)) for one in reviewed.quality
    )
    man = make_case(header={"PatientSex": "M"})
    doubled = (replace(one, value=2 * (one.value or 0)) for one in man.biomarkers)
    of_all_profiles = (
        (make_case(regression=make_regression()), CONTEXT),
        (replace(reviewed, quality=doubts), _ELSEWHERE),
        (make_case(enhanced=True), _ELSEWHERE),
        (lge_case(), _ELSEWHERE),
    )
    full = (
        (make_case(), CONTEXT),
        (replace(man, biomarkers=tuple(doubled)), CONTEXT),
        (make_case(series_of=series_per_slice, holes=frozenset({(4, 2)})), CONTEXT),
        (make_case(header={"PatientAge": "055Y", "IssuerOfPatientID": "H"}), CONTEXT),
        (lge_case(companion=companion_of([cine_findings()])), CONTEXT),
        (picture_case("ecg"), CONTEXT),
        (picture_case("spect"), _ELSEWHERE),
        (picture_case("spect", withheld="no stress series"), CONTEXT),
    )
    return tuple(
        item
        for cases, profiles in ((of_all_profiles, PROFILES), (full, PROFILES[:1]))
        for case in cases
        for item in write_results(*case, profiles)
    )


def kinds() -> list[str]:
    """UIDs of the SOP classes that the node writes."""
    return list(dict.fromkeys(item.sop_class_uid for item in samples()))


@cache
def _written() -> Mapping[str, tuple[Dataset, ...]]:
    """The objects by SOP class, as somebody reads them who gets them."""
    found: dict[str, list[Dataset]] = defaultdict(list)
    with tolerant_headers():
        for item in samples():
            found[item.sop_class_uid].append(read(item))
    return {uid: tuple(datasets) for uid, datasets in found.items()}


def roles() -> str:
    """The objects of a result: what they are, in which series they stand, and who gets them."""
    rows = {
        (
            f"`{re.sub(r'_[0-9]+$', '_*', item.role.partition('.')[0])}`",
            UID(item.sop_class_uid).name,
            int(item.dataset.SeriesNumber),
            item.dataset.SeriesDescription,
            ", ".join(sorted(profiles_of(item.role))),
        )
        for item in samples()
    }
    heads = ("Role", "SOP class", "Series number", "Series description", "Profiles")
    return table(heads, sorted(rows, key=lambda row: (row[2], row)))


def segments() -> str:
    """What a segment may stand for."""
    rows = [
        (
            one.label,
            _coded(one.category),
            _coded(one.code),
            " ".join(str(value) for value in one.colour),
        )
        for one in STRUCTURES.values()
    ]
    return table(("Label", "Category", "Type", "Colour (sRGB)"), rows)


def attributes(sop_class_uid: str) -> str:
    """Every attribute of the objects of a SOP class; of a report without its content."""
    found = _written()[sop_class_uid]
    rows = [*_rows([item.file_meta for item in found]), *_rows(found)]
    return table(("Attribute", "Tag", "VR", "Present", "Value"), rows)


def _rows(parents: Sequence[Dataset], path: tuple[str, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Rows of the attributes of data sets that play the same part."""
    for tag in sorted({element.tag for parent in parents for element in parent}):
        elements = [parent[tag] for parent in parents if tag in parent]
        first = elements[0]
        here = (*path, first.keyword)
        present = "always" if len(elements) == len(parents) else "sometimes"
        row = ("&gt; " * len(path) + first.keyword, str(tag), first.VR, present)
        items = [item for e in elements if e.VR == "SQ" for item in e.value]
        if first.VR != "SQ":
            yield (*row, _value(here, [e.value for e in elements]))
        elif first.keyword == "ContentSequence":
            yield (*row, "see the content of a report")
        elif items and all({e.keyword for e in item} >= _CODE for item in items):
            yield (*row, _few(_code(item) for item in items))
        else:
            yield (*row, "" if items else "no item")
            yield from _rows(items, here)


def _value(path: tuple[str, ...], values: Sequence[object]) -> str:
    keyword = path[-1]
    if said := _SAID.get("/".join(path)):
        return said
    if len(path) == 1 and keyword in _FROM_SOURCE:
        return _COPIED
    if keyword.endswith(("ClassUID", "SyntaxUID")):
        return _few(UID(str(value)).name for value in values)
    if keyword.endswith(("UID", "Date", "Time")):
        return ""
    if keyword.startswith(("Bits", "HighBit", "PixelRep", "SamplesPer")):
        return _few(str(value) for value in values)
    if dictionary_VR(keyword) not in _TEXT:
        return ""
    words = ["\\".join(one) if isinstance(one, MultiValue) else str(one) for one in values]
    return _few(_COPIED if word in _OF_SOURCE else word for word in words)


def _few(values: Iterable[str]) -> str:
    """The values where there are few, which is where they are fixed."""
    found = sorted({value for value in values if value})
    return "; ".join(found) if len(found) <= _FEW else ""


def _code(item: Dataset) -> str:
    return f"({item.CodeValue}, {item.CodingSchemeDesignator}, {item.CodeMeaning})"


def _coded(code: Code) -> str:
    return f"({code.value}, {code.scheme_designator}, {code.meaning})"


def content() -> str:
    """Content items of the reports: each place in the tree once, with what is always there."""
    found: dict[tuple[str, ...], list[Dataset]] = defaultdict(list)
    for item in samples():
        if "ContentSequence" in item.dataset:
            found[(_item(item.dataset),)].append(item.dataset)
            _collect(item.dataset, (_item(item.dataset),), found)
    rows = []
    rank = {path: number for number, path in enumerate(found)}
    places = {path: [rank[path[:n]] for n in range(1, len(path) + 1)] for path in found}
    for path, items in sorted(found.items(), key=lambda entry: places[entry[0]]):
        parents = found.get(path[:-1], items)
        holders = sum(any(_item(c) == path[-1] for c in _children(p)) for p in parents)
        always = len(path) == 1 or holders == len(parents)
        values = [_code(i.ConceptCodeSequence[0]) for i in items if "ConceptCodeSequence" in i]
        templates = {
            t.TemplateIdentifier for i in items for t in i.get("ContentTemplateSequence", ())
        }
        rows.append(
            (
                "&gt; " * (len(path) - 1) + path[-1],
                ", ".join(sorted(templates)),
                "always" if always else "sometimes",
                _few(values),
            )
        )
    return table(("Content item", "TID", "Present", "Codes"), rows)


def _collect(
    parent: Dataset, path: tuple[str, ...], found: dict[tuple[str, ...], list[Dataset]]
) -> None:
    for child in _children(parent):
        here = (*path, _item(child))
        found[here].append(child)
        _collect(child, here, found)


def _children(item: Dataset) -> Sequence[Dataset]:
    return item.get("ContentSequence", ())


def _item(item: Dataset) -> str:
    """How an item stands in the tree: relationship, type and name, all quantities alike."""
    relationship = f"{item.RelationshipType} " if "RelationshipType" in item else ""
    if "ConceptNameCodeSequence" not in item:
        return f"{relationship}{item.ValueType}"
    name = item.ConceptNameCodeSequence[0]
    stated = (name.CodeValue, name.CodingSchemeDesignator) in _quantities()
    return f"{relationship}{item.ValueType} {'a quantity' if stated else _code(name)}"


@cache
def _quantities() -> frozenset[tuple[str, str]]:
    codes = [q.code for q in QUANTITIES.values()]
    codes += [q.family for q in QUANTITIES.values() if q.family]
    classes = [one for subject in SUBJECTS.values() for one in subject.classes.values()]
    codes += [one.probability for one in classes]
    return frozenset((code.value, code.scheme_designator) for code in codes)


def quantities() -> str:
    """What reports state as numbers."""
    units: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in samples():
        for number in _numbers(item.dataset):
            name = number.ConceptNameCodeSequence[0]
            unit = number.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue
            units[name.CodeValue, name.CodingSchemeDesignator].add(unit)
    rows = [
        (
            f"`{name}`",
            _coded(q.code),
            ", ".join(sorted(units[q.code.value, q.code.scheme_designator])) or "never a number",
        )
        for name, q in QUANTITIES.items()
    ]
    return table(("In the findings", "Code", "Unit (UCUM)"), rows)


def classes() -> str:
    """What a network for research may say."""
    rows = [
        (f"`{name}`", f"`{label}`", _coded(one.code), _coded(one.probability))
        for name, subject in SUBJECTS.items()
        for label, one in subject.classes.items()
    ]
    return table(("Subject", "Class in the findings", "Finding", "Probability (unit 1)"), rows)


def _numbers(item: Dataset) -> Iterator[Dataset]:
    for child in _children(item):
        if child.ValueType == "NUM" and "MeasuredValueSequence" in child:
            yield child
        yield from _numbers(child)


def private_codes() -> str:
    """Every private code that the writers know."""
    known = {code.value: code.meaning for code in _known_codes() if _is_private(code)}
    return table(("Code", "Meaning"), sorted((f"`{value}`", known[value]) for value in known))


def written_private_codes() -> set[str]:
    """Values of the private codes that stand in objects."""
    found: set[str] = set()

    def note(item: Dataset, element: Any) -> None:
        if element.keyword == "CodingSchemeDesignator" and element.value == PRIVATE_SCHEME:
            found.update([item.get("CodeValue")] if "CodeValue" in item else [])

    for item in samples():
        item.dataset.walk(note)
    return found


def _is_private(code: Code) -> bool:
    return code.scheme_designator.startswith("99")


def _known_codes() -> Iterator[Code]:
    """Codes in the modules of the writers, however deep."""
    for module in pkgutil.iter_modules(pipeline.results.__path__, "pipeline.results."):
        for value in vars(importlib.import_module(module.name)).values():
            yield from _codes_in(value)


def _codes_in(value: object) -> Iterator[Code]:
    if isinstance(value, Code):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _codes_in(one)
    elif isinstance(value, tuple | list | set | frozenset):
        for one in value:
            yield from _codes_in(one)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _codes_in(getattr(value, field.name))


def used() -> str:
    """Attributes of the images that routing, completion and assembly read."""
    keywords = sorted(dictionary_keyword(tag) for tag in headers._HEADER_TAGS)
    return table(("Attribute", "Tag"), [(one, str(Tag(one))) for one in keywords])
