"""The report: TID 1500 in a Comprehensive 3D SR (PS3.16 TID 1500, PS3.3 A.35.13)."""

from collections.abc import Sequence
from copy import deepcopy

from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    DeviceObserverIdentifyingAttributes,
    LanguageOfContentItemAndDescendants,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
)
from pydicom import Dataset
from pydicom.sr.coding import Code

from pipeline.aha import APEX_NOT_SHOWN
from pipeline.case import Case
from pipeline.results.codes import (
    CARDIAC_MR,
    ENGLISH,
    PRIVATE_SCHEME,
    PRIVATE_SCHEME_NAME,
    REPORT_TITLE,
)
from pipeline.results.common import (
    NODE_MANUFACTURER,
    Basis,
    ObjectIdentity,
    ResultBasis,
    ResultObject,
    equipment,
    finished,
    identify,
    predecessors,
)
from pipeline.results.measurements import Group, measurement_groups
from pipeline.results.seg import WrittenSegmentation
from pipeline.results.series import series_of
from pipeline.results.source import (
    SourceImage,
    evidence_header,
    is_citable,
    restore_references,
    source_images,
)
from pipeline.results.statements import put_disclaimer_first, statements

_DEVICE = Code("121007", "DCM", "Device")


def write_report(basis: ResultBasis, written: Sequence[WrittenSegmentation]) -> ResultObject:
    """State every biomarker, what was withheld and why, and how it came about."""
    return report_object(
        basis,
        identify("sr", basis),
        groups=measurement_groups(basis, written),
        images=used_images(basis),
        also_evidence=[seg.result.dataset for seg in written],
    )


def report_object(
    basis: ResultBasis,
    identity: ObjectIdentity,
    *,
    groups: Sequence[Group],
    images: Sequence[SourceImage],
    also_evidence: Sequence[Dataset] = (),
) -> ResultObject:
    """Write a TID 1500 report.

    Parameters
    ----------
    basis : ResultBasis
    identity : ObjectIdentity
    groups : sequence of Group
        What was measured.
    images : sequence of SourceImage
        Evidence, and the image library.
    also_evidence : sequence of Dataset
        Further objects that the groups refer to.
    """
    return finished_report(
        basis,
        identity,
        _content(basis, groups, images),
        [*(evidence_header(image) for image in images), *also_evidence],
        series=series_of(identity.role, basis.contents),
        incomplete=_why_partial(basis.case),
    )


def finished_report(
    basis: Basis,
    identity: ObjectIdentity,
    content: MeasurementReport,
    evidence: Sequence[Dataset],
    *,
    series: tuple[int, str],
    incomplete: str,
) -> ResultObject:
    """Make an object of the content of a report.

    `series` are number and description; `incomplete` says why the report lacks something.
    """
    series_number, series_description = series
    built = Comprehensive3DSR(
        evidence=evidence,
        content=_childless(content[0]),
        series_instance_uid=identity.series_instance_uid,
        series_number=series_number,
        sop_instance_uid=identity.sop_instance_uid,
        instance_number=basis.context.instance_number,
        is_complete=not incomplete,
        is_final=False,
        is_verified=False,
        previous_versions=predecessors(identity, basis),
        series_description=series_description,
        **equipment(basis),
    )
    built["ContentSequence"] = content[0]["ContentSequence"]
    if incomplete:
        built.CompletionFlagDescription = incomplete
    built.CodingSchemeIdentificationSequence = [_private_scheme()]
    return finished(built, identity, basis)


def _childless(root: Dataset) -> Dataset:
    """Copy the root of a content tree without what hangs on it.

    highdicom copies the tree it is given and walks it three times, for uses that nothing here has.
    """
    bare = Dataset()
    bare.update(root)
    bare.add_new("ContentSequence", "SQ", [])
    return bare


def _private_scheme() -> Dataset:
    """Coding Scheme Identification item (PS3.3 C.12.1)."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = PRIVATE_SCHEME
    scheme.CodingSchemeName = PRIVATE_SCHEME_NAME
    return scheme


def _why_partial(case: Case) -> str:
    """Return why the report is not all that the node reports, or nothing; fits VR LO."""
    if any(one.withheld not in (None, APEX_NOT_SHOWN) for one in case.biomarkers):
        return "Some quantities are withheld; the reasons are stated"
    if case.stack.missing_fraction > 0:
        return "Some images of the stack are missing; they are named"
    return ""


def _content(
    basis: ResultBasis, groups: Sequence[Group], images: Sequence[SourceImage]
) -> MeasurementReport:
    library = [
        _library_header(image) for image in images if is_citable(image.cell.sop_instance_uid)
    ]
    report = document(basis, CARDIAC_MR, groups, statements(basis), library)
    restore_references(report[0], images)
    return report


def document(
    basis: Basis,
    procedure: Code,
    groups: Sequence[Group],
    said: ContainerContentItem,
    library: Sequence[Dataset] = (),
) -> MeasurementReport:
    """Content of a TID 1500 report.

    Parameters
    ----------
    basis : Basis
    procedure : Code
        What was done to the patient.
    groups : sequence of Group
        What was measured.
    said : ContainerContentItem
        The qualitative evaluations.
    library : sequence of Dataset
        Headers of the images of the image library.
    """
    report = MeasurementReport(
        observation_context=_observer(basis),
        procedure_reported=procedure,
        imaging_measurements=groups,
        title=REPORT_TITLE,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            CodedConcept.from_code(ENGLISH)
        ),
        referenced_images=library,
    )
    report[0].ContentSequence.append(said)
    put_disclaimer_first(report[0], basis.case.classification)
    _separate(report[0])
    return report


def _separate(item: Dataset) -> None:
    """Call the items of each container separate ones, not flowing text (PS3.3 C.18.8).

    Of flowing text some viewers show bare values, numbers without their names among them.
    """
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
        for child in item.get("ContentSequence", ()):
            _separate(child)


def _library_header(image: SourceImage) -> Dataset:
    header = deepcopy(image.header)
    if not is_citable(header.FrameOfReferenceUID):
        del header.FrameOfReferenceUID
    return header


def _observer(basis: Basis) -> ObservationContext:
    """Identify this node as the observer (PS3.16 TID 1004)."""
    context = basis.context
    attributes = DeviceObserverIdentifyingAttributes(
        uid=context.device_uid,
        name=context.station_name or None,
        manufacturer_name=NODE_MANUFACTURER,
        model_name=basis.analysis,
        serial_number=context.device_serial_number,
        physical_location=context.institution or None,
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=CodedConcept.from_code(_DEVICE),
            observer_identifying_attributes=attributes,
        )
    )


def used_images(basis: ResultBasis) -> tuple[SourceImage, ...]:
    """Images of the measured slices in the phases looked at; of the first when none were found."""
    stack, relevance = basis.case.stack, basis.case.relevance
    slices = [z for z in range(len(stack.positions_mm)) if not relevance or relevance.relevant[z]]
    indices = dict.fromkeys(index for _, index in basis.contents.phases) or [0]
    return tuple(image for index in indices for image in source_images(stack, index, slices))
