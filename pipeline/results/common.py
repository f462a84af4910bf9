"""What every result object shares: its context, its identity and its stamps."""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, Comprehensive3DSRStorage, ExplicitVRLittleEndian

from pipeline.case import BaseCase, Case, ModelUse
from pipeline.lge_case import LgeCase
from pipeline.results.codes import PROCESSING_EQUIPMENT
from pipeline.results.contents import Contents, contents_of
from pipeline.results.uids import hashed_uid, instance_uid, series_uid

NODE_MANUFACTURER = "DICOM node cardiac CAD"
IMPLEMENTATION_CLASS_UID = "2.25.203840318765490411718204537823107163285"
DISCLAIMER = "Automatic measurement, unverified, not a medical device."


@dataclass(frozen=True, slots=True)
class EarlierObject:
    """An object of an earlier result of the same stack that may lie in an archive.

    Attributes
    ----------
    created_at : datetime or None
        Aware; the time of its content, where the node knows it.
    """

    role: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ResultContext:
    """What decides a result besides the case.

    Attributes
    ----------
    series_seed : str
        Fixed at the first result of a stack and kept: decides the result series.
    instance_number : int
        1 for the first result of a stack; higher in each that supersedes.
    created_at : datetime
        Aware UTC; every date and time of the objects comes from it.
    timezone : str
        IANA name of the zone in which the objects state it.
    institution, station_name : str
        As the objects name the place; may be empty.
    software_version, settings_digest, numeric_backend : str
        Part of what decides the content, and so the SOP Instance UID.
    supersedes : tuple of EarlierObject
        What this result takes the place of; likewise a part of what decides the UIDs. None for the
        first result that leaves the node, so that a run over files gives the UIDs of the node.
    """

    series_seed: str
    instance_number: int
    created_at: datetime
    timezone: str
    institution: str
    station_name: str
    software_version: str
    settings_digest: str
    numeric_backend: str
    supersedes: tuple[EarlierObject, ...] = ()

    @property
    def made(self) -> str:
        """When it was made, as people of the site read it."""
        return self._told(self.created_at)

    @property
    def replaces(self) -> str:
        """Which result this one takes the place of, as a sentence; empty for a first one."""
        if not self.supersedes:
            return ""
        times = sorted({one.created_at for one in self.supersedes if one.created_at})
        if not times:
            return "Replaces an earlier result."
        before = " and what came before it" if len(times) > 1 else ""
        return f"Replaces the result of {self._told(times[-1])}{before}."

    @property
    def local_time(self) -> datetime:
        """`created_at` in the zone of the site."""
        return self.created_at.astimezone(ZoneInfo(self.timezone))

    def _told(self, time: datetime) -> str:
        return time.astimezone(ZoneInfo(self.timezone)).strftime("%Y-%m-%d %H:%M:%S %Z")

    @property
    def device_serial_number(self) -> str:
        """What tells this node from another of the same make."""
        return self.station_name or "unnamed"

    @property
    def device_uid(self) -> str:
        """UID of this node as an observer (PS3.16 TID 1004)."""
        return hashed_uid("device", NODE_MANUFACTURER, self.institution, self.station_name)


@dataclass(frozen=True, slots=True)
class ResultObject:
    """A finished DICOM object.

    Attributes
    ----------
    role : str
        ``sr``, ``seg_ed``, ``seg_es``, ``seg_lge``, ``explanation_ed``, ``explanation_es``,
        ``page`` or ``pdf``, or one that begins with ``key``; a suffix tells the SEGs of one phase
        apart where the slices have a series each.
    dataset : Dataset
        With file meta information, ready to save.
    segments : tuple of str
        Labels of its segments; empty for a report.
    """

    role: str
    dataset: Dataset
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Basis:
    """What every object of a result is built from; `patient_study` as in `source`."""

    case: BaseCase
    context: ResultContext
    patient_study: Dataset

    @property
    def analysis(self) -> str:
        """What the node did, in place of the model of a device."""
        return "Classification"


@dataclass(frozen=True, slots=True)
class ResultBasis(Basis):
    """The basis of what is written of a stack."""

    case: Case
    contents: Contents = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "contents", contents_of(self.case))

    @property
    def analysis(self) -> str:
        """What the node did, in place of the model of a device."""
        return self.contents.analysis


@dataclass(frozen=True, slots=True)
class ObjectIdentity:
    """The UIDs of an object to be written."""

    role: str
    sop_instance_uid: str
    series_instance_uid: str


def identify(role: str, basis: Basis) -> ObjectIdentity:
    """UIDs of the object that plays `role` in a result."""
    uid = result_uid(role, basis.case, basis.context)
    return ObjectIdentity(role, uid, series_uid(basis.context.series_seed, role))


def result_uid(role: str, case: BaseCase, context: ResultContext) -> str:
    """SOP Instance UID of the object that plays `role` in a result."""
    return instance_uid(
        role,
        input_digests=case.input_digests,
        weights_sha256=(model.weights_sha256 for model in models_of(case)),
        software_version=context.software_version,
        settings_digest=context.settings_digest,
        numeric_backend=context.numeric_backend,
        supersedes=(one.sop_instance_uid for one in context.supersedes),
    )


def predecessors(identity: ObjectIdentity, basis: Basis) -> list[Dataset] | None:
    """Earlier reports of the same role or series, as highdicom takes those that one replaces."""
    own = (identity.role, identity.series_instance_uid)
    earlier = [
        one
        for one in basis.context.supersedes
        if one.sop_class_uid == Comprehensive3DSRStorage
        and (one.role == own[0] or one.series_instance_uid == own[1])
    ]
    return [_document(one, basis.patient_study.StudyInstanceUID) for one in earlier] or None


def _document(earlier: EarlierObject, study_instance_uid: str) -> Dataset:
    document = Dataset()
    document.StudyInstanceUID = study_instance_uid
    document.SeriesInstanceUID = earlier.series_instance_uid
    document.SOPClassUID = earlier.sop_class_uid
    document.SOPInstanceUID = earlier.sop_instance_uid
    return document


def models_of(case: BaseCase) -> tuple[ModelUse, ...]:
    """Every network that took part, once, in the order of the stages."""
    return tuple(dict.fromkeys(model for stage in case.provenance for model in stage.models))


def models_beside(case: BaseCase) -> tuple[ModelUse, ...]:
    """The networks of the cine whose numbers a late enhancement report holds, too."""
    return case.companion.models if isinstance(case, LgeCase) and case.companion else ()


def model_of(stage_name: str, basis: Basis) -> ModelUse:
    """The network of a stage; the node itself where no network is named."""
    for stage in basis.case.provenance:
        if stage.stage == stage_name and stage.models:
            return stage.models[-1]
    return ModelUse(basis.analysis, basis.context.software_version, "none", "Apache-2.0")


def describe_model(model: ModelUse) -> str:
    """One sentence that identifies a network."""
    return (
        f"Network {model.name} {model.version}, weights SHA-256 {model.weights_sha256}, "
        f"licence {model.licence}."
    )


def equipment(basis: Basis) -> dict[str, Any]:
    """General Equipment of this node, as highdicom's constructors take it."""
    return {
        "manufacturer": NODE_MANUFACTURER,
        "manufacturer_model_name": basis.analysis,
        "software_versions": basis.context.software_version,
        "device_serial_number": basis.context.device_serial_number,
    }


def begun(identity: ObjectIdentity, sop_class_uid: UID, basis: ResultBasis) -> Dataset:
    """Begin an object that highdicom does not build: its UIDs, its equipment, its file meta."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class_uid
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(identity.sop_instance_uid)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = identity.sop_instance_uid
    dataset.SeriesInstanceUID = identity.series_instance_uid
    made = equipment(basis)
    dataset.Manufacturer = made["manufacturer"]
    dataset.ManufacturerModelName = made["manufacturer_model_name"]
    dataset.SoftwareVersions = made["software_versions"]
    dataset.DeviceSerialNumber = made["device_serial_number"]
    dataset.ContributingEquipmentSequence = []
    return dataset


def finished(
    built: Dataset, identity: ObjectIdentity, basis: Basis, segments: tuple[str, ...] = ()
) -> ResultObject:
    """Give a built object the patient and study of its source, its provenance and its times.

    The present time that highdicom stamps is overwritten, so that equal input gives equal bytes.
    Text is stated in UTF-8 (PS3.3 C.12.1.1.2).
    """
    context = basis.context
    dataset = Dataset()
    dataset.update(built)
    dataset.update(deepcopy(basis.patient_study))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    if context.institution:
        dataset.InstitutionName = context.institution
    if context.station_name:
        dataset.StationName = context.station_name
    dataset.ContributingEquipmentSequence = [
        *built.ContributingEquipmentSequence,
        *(_network(model) for model in models_of(basis.case)),
        _node(basis),
    ]
    _stamp_time(dataset, context.local_time)
    dataset.file_meta = built.file_meta
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = f"DICOMNODE_{context.software_version}"[:16]
    return ResultObject(
        identity.role,
        dataset,
        identity.sop_instance_uid,
        str(dataset.SOPClassUID),
        identity.series_instance_uid,
        segments,
    )


def _stamp_time(dataset: Dataset, moment: datetime) -> None:
    date, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate = dataset.ContentDate = date
    dataset.InstanceCreationTime = dataset.ContentTime = time
    dataset.TimezoneOffsetFromUTC = moment.strftime("%z")
    for item in dataset.ContributingEquipmentSequence:
        if item.PurposeOfReferenceCodeSequence[0].CodeValue == PROCESSING_EQUIPMENT.value:
            item.ContributionDateTime = f"{date}{time}{dataset.TimezoneOffsetFromUTC}"


def _network(model: ModelUse) -> Dataset:
    item = _contribution(model.name, model.version, describe_model(model))
    item.DeviceUID = hashed_uid("network", model.name, model.version, model.weights_sha256)
    return item


def _node(basis: Basis) -> Dataset:
    context = basis.context
    description = (
        f"{DISCLAIMER} Settings SHA-256 {context.settings_digest}, "
        f"arithmetic {context.numeric_backend}."
    )
    item = _contribution(basis.analysis, context.software_version, description)
    item.DeviceSerialNumber = context.device_serial_number
    item.DeviceUID = context.device_uid
    return item


def _contribution(model_name: str, version: str, description: str) -> Dataset:
    """Contributing Equipment item (PS3.3 C.12.1) of a processing algorithm."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(PROCESSING_EQUIPMENT)]
    item.Manufacturer = NODE_MANUFACTURER
    item.ManufacturerModelName = model_name
    item.SoftwareVersions = version
    item.ContributionDescription = description
    return item


def coded(code: Code) -> Dataset:
    """Code Sequence Macro item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
