"""The data sets of a synthetic cine study: classic and Enhanced MR Image Storage."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from config.version import SOFTWARE_VERSION
from dicom_node.phantom_stack import PlacedCine, UInt16

MANUFACTURER = "SYNTHETIC"
SERIES_DESCRIPTION = "Synthetic cine SAX"
STATEMENT = "Synthetic image drawn by a program: not of a person, not for diagnosis"
START = datetime(2024, 1, 15, 10, 0, tzinfo=UTC)
_BREATH_HOLD = timedelta(seconds=12)  # from one slice position to the next
_REPETITION_MS, _ECHO_MS, _FLIP_DEG, _FIELD_T = 3.2, 1.6, 50.0, 1.5


def classic_instance(placed: PlacedCine, phase: int, position: int) -> Dataset:
    """MR Image Storage instance (PS3.3 A.4) of one slice in one phase."""
    order = placed.acquisition_order.index(position)
    dataset = _common(placed, position)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = placed.instance_uid(phase, position)
    before = 0 if placed.form.series_per_slice else order * placed.phases
    started = START + order * _BREATH_HOLD
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.ScanningSequence = "GR"
    dataset.SequenceVariant = "SS"
    dataset.ScanOptions = "CG"
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime = _REPETITION_MS
    dataset.EchoTime = _ECHO_MS
    dataset.FlipAngle = _FLIP_DEG
    dataset.EchoTrainLength = 1
    dataset.NumberOfAverages = 1
    dataset.SliceThickness = placed.cine.slice_thickness_mm
    dataset.SpacingBetweenSlices = placed.cine.slice_spacing_mm
    dataset.TriggerTime = float(placed.trigger_times_ms[phase, position])
    dataset.NominalInterval = int(placed.rr_ms[position])
    dataset.HeartRate = round(60_000 / placed.rr_ms[position])
    dataset.CardiacNumberOfImages = placed.phases
    dataset.AcquisitionNumber = order + 1
    dataset.InstanceNumber = before + phase + 1
    dataset.AcquisitionDate = dataset.ContentDate = f"{started:%Y%m%d}"
    dataset.AcquisitionTime = dataset.ContentTime = f"{started:%H%M%S}"
    dataset.ImagePositionPatient = placed.positions_mm[position].tolist()
    dataset.ImageOrientationPatient = list(placed.orientation)
    dataset.PixelSpacing = list(placed.cine.pixel_spacing_mm)
    dataset.WindowCenter, dataset.WindowWidth = placed.window
    _set_pixels(dataset, placed.pixels[phase, position])
    return _finish(placed, dataset)


def enhanced_instance(placed: PlacedCine, positions: tuple[int, ...]) -> Dataset:
    """Enhanced MR Image Storage instance (PS3.3 A.36.2) of some slices in every phase.

    Frames run slice by slice in the order given, each through all phases.
    """
    dataset = _common(placed, positions[0])
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.SOPInstanceUID = placed.instance_uid(0, positions[0])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "CARDIAC", "NONE"]
    dataset.InstanceNumber = 1
    dataset.AcquisitionNumber = 1
    dataset.AcquisitionDateTime = f"{START:%Y%m%d%H%M%S}"
    dataset.AcquisitionDuration = _BREATH_HOLD.total_seconds() * 1000 * len(positions)
    dataset.ContentDate, dataset.ContentTime = f"{START:%Y%m%d}", f"{START:%H%M%S}"
    dataset.AcquisitionContextSequence = Sequence()
    dataset.ContentQualification = "RESEARCH"
    dataset.ResonantNucleus = "1H"
    dataset.KSpaceFiltering = "NONE"
    dataset.ApplicableSafetyStandardAgency = "IEC"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "IDENTITY"
    _describe_contrast(dataset)
    _describe_pulse_sequence(dataset)
    _describe_cardiac_synchronization(dataset, placed)
    _describe_dimensions(dataset, placed.uid("dimensions"))
    cells = [(phase, position) for position in positions for phase in range(placed.phases)]
    dataset.NumberOfFrames = len(cells)
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(placed)]
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_groups(placed, phase, position, positions.index(position))
        for phase, position in cells
    ]
    _set_pixels(dataset, np.stack([placed.pixels[cell] for cell in cells]))
    return _finish(placed, dataset)


def _common(placed: PlacedCine, position: int) -> Dataset:
    """Patient, study, series, equipment and frame of reference."""
    cine, seed = placed.cine, placed.seed
    apart = placed.form.series_per_slice
    order = placed.acquisition_order.index(position)
    dataset = synthetic_study(seed)
    dataset.StudyInstanceUID = placed.uid("study")
    dataset.SeriesInstanceUID = placed.uid("series", position if apart else "all")
    dataset.FrameOfReferenceUID = placed.uid("frame of reference")
    dataset.PatientSize = cine.height_m
    dataset.PatientWeight = cine.weight_kg
    dataset.StudyDescription = "Synthetic cardiac MR"
    dataset.SeriesDescription = dataset.ProtocolName = SERIES_DESCRIPTION
    dataset.SeriesNumber = 101 + order if apart else 1
    dataset.Modality = "MR"
    dataset.BodyPartExamined = "HEART"
    dataset.PatientPosition = "HFS"
    dataset.PositionReferenceIndicator = ""
    dataset.ManufacturerModelName = "Synthetic cine heart"
    dataset.MagneticFieldStrength = _FIELD_T
    dataset.ImageComments = STATEMENT
    return dataset


def synthetic_study(seed: int) -> Dataset:
    """What every synthetic instance says of its patient, study and equipment."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = "SYNTHETIC^HEART"
    dataset.PatientID = f"SYNTHETIC-{seed}"
    dataset.PatientSex = "FM"[seed % 2]
    dataset.PatientBirthDate = f"{1945 + seed * 7 % 55}0401"
    dataset.StudyDate = dataset.SeriesDate = f"{START:%Y%m%d}"
    dataset.StudyTime = dataset.SeriesTime = f"{START:%H%M%S}"
    dataset.AccessionNumber = ""
    dataset.StudyID = "1"
    dataset.ReferringPhysicianName = ""
    dataset.Manufacturer = MANUFACTURER
    dataset.DeviceSerialNumber = str(seed)
    dataset.SoftwareVersions = SOFTWARE_VERSION
    return dataset


def _set_pixels(dataset: Dataset, pixels: UInt16) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.astype("<u2").tobytes()


def _finish(placed: PlacedCine, dataset: Dataset) -> Dataset:
    """Set the attributes that were asked for, and the file meta information."""
    set_attributes(dataset, placed.form.header)
    return with_meta(dataset)


def with_meta(dataset: Dataset) -> Dataset:
    """The data set with its file meta information."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def set_attributes(dataset: Dataset, header: Mapping[str, object]) -> None:
    """Set attributes by keyword; None takes one away."""
    for keyword, value in header.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)


def one_item(**attributes: object) -> Sequence:
    """A sequence of one item, as of a functional group."""
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Sequence([item])


def one_code(value: str, scheme: str, meaning: str) -> Sequence:
    """A sequence of one code."""
    return one_item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _describe_contrast(dataset: Dataset) -> None:
    """MR Image Description Macro (PS3.3 C.8.13.3.1)."""
    dataset.PixelPresentation = "MONOCHROME"
    dataset.VolumetricProperties = "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.ComplexImageComponent = "MAGNITUDE"
    dataset.AcquisitionContrast = "UNKNOWN"


def _describe_pulse_sequence(dataset: Dataset) -> None:
    """MR Pulse Sequence Module (PS3.3 C.8.13.4)."""
    dataset.PulseSequenceName = "SYNTHETIC"
    dataset.MRAcquisitionType = "2D"
    dataset.EchoPulseSequence = "GRADIENT"
    dataset.MultiPlanarExcitation = "NO"
    dataset.PhaseContrast = "NO"
    dataset.TimeOfFlightContrast = "NO"
    dataset.SteadyStatePulseSequence = "FREE_PRECESSION"
    dataset.EchoPlanarPulseSequence = "NO"
    dataset.SaturationRecovery = "NO"
    dataset.SpectrallySelectedSuppression = "NONE"
    dataset.OversamplingPhase = "NONE"
    dataset.GeometryOfKSpaceTraversal = "RECTILINEAR"
    dataset.RectilinearPhaseEncodeReordering = "LINEAR"
    dataset.SegmentedKSpaceTraversal = "PARTIAL"
    dataset.NumberOfKSpaceTrajectories = 1


def _describe_cardiac_synchronization(dataset: Dataset, placed: PlacedCine) -> None:
    """Cardiac Synchronization Module (PS3.3 C.7.6.18.1)."""
    dataset.CardiacSynchronizationTechnique = "RETROSPECTIVE"
    dataset.CardiacSignalSource = "ECG"
    dataset.CardiacBeatRejectionTechnique = "NONE"
    dataset.CardiacRRIntervalSpecified = float(np.median(placed.rr_ms))
    dataset.LowRRValue, dataset.HighRRValue = int(placed.rr_ms.min()), int(placed.rr_ms.max())
    dataset.IntervalsAcquired, dataset.IntervalsRejected = 10 * placed.slices, 0


def _describe_dimensions(dataset: Dataset, organization_uid: str) -> None:
    """Multi-frame Dimension Module (PS3.3 C.7.6.17): stack, place in the stack, time."""
    frame_content = Tag("FrameContentSequence")
    dataset.DimensionOrganizationSequence = one_item(DimensionOrganizationUID=organization_uid)
    dataset.DimensionIndexSequence = [
        one_item(
            DimensionOrganizationUID=organization_uid,
            DimensionIndexPointer=Tag(keyword),
            FunctionalGroupPointer=frame_content,
        )[0]
        for keyword in ("StackID", "InStackPositionNumber", "TemporalPositionIndex")
    ]


def _shared_groups(placed: PlacedCine) -> Dataset:
    """Functional groups that all frames share (PS3.3 A.36.2.3)."""
    _, _, rows, columns = placed.pixels.shape
    row_mm, column_mm = placed.cine.pixel_spacing_mm
    centre, width = placed.window
    shared = Dataset()
    shared.PixelMeasuresSequence = one_item(
        PixelSpacing=[row_mm, column_mm],
        SliceThickness=placed.cine.slice_thickness_mm,
        SpacingBetweenSlices=placed.cine.slice_spacing_mm,
    )
    shared.PlaneOrientationSequence = one_item(ImageOrientationPatient=list(placed.orientation))
    shared.FrameAnatomySequence = one_item(
        FrameLaterality="U", AnatomicRegionSequence=one_code("80891009", "SCT", "Heart")
    )
    shared.FrameVOILUTSequence = one_item(WindowCenter=centre, WindowWidth=width)
    shared.PixelValueTransformationSequence = one_item(
        RescaleIntercept=0, RescaleSlope=1, RescaleType="US"
    )
    shared.MRImageFrameTypeSequence = one_item(FrameType=["ORIGINAL", "PRIMARY", "CARDIAC", "NONE"])
    _describe_contrast(shared.MRImageFrameTypeSequence[0])
    _describe_encoding(shared, rows, columns)
    _describe_preparation(shared)
    _describe_coils(shared)
    return shared


def _describe_encoding(shared: Dataset, rows: int, columns: int) -> None:
    """Timing and encoding of the frames (PS3.3 C.8.13.5.2, .3, .4 and .10)."""
    shared.MRTimingAndRelatedParametersSequence = one_item(
        RepetitionTime=_REPETITION_MS,
        FlipAngle=_FLIP_DEG,
        EchoTrainLength=1,
        RFEchoTrainLength=0,
        GradientEchoTrainLength=1,
        SpecificAbsorptionRateSequence=one_item(
            SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=0.0
        ),
        GradientOutputType="DB_DT",
        GradientOutput=0.0,
        OperatingModeSequence=[
            one_item(OperatingModeType=kind, OperatingMode="IEC_NORMAL")[0]
            for kind in ("STATIC FIELD", "RF", "GRADIENT")
        ],
    )
    shared.MRFOVGeometrySequence = one_item(
        InPlanePhaseEncodingDirection="ROW",
        MRAcquisitionFrequencyEncodingSteps=columns,
        MRAcquisitionPhaseEncodingStepsInPlane=rows,
        PercentSampling=100.0,
        PercentPhaseFieldOfView=100.0,
    )
    shared.MREchoSequence = one_item(EffectiveEchoTime=_ECHO_MS)
    shared.MRAveragesSequence = one_item(NumberOfAverages=1.0)


def _describe_preparation(shared: Dataset) -> None:
    """What is done to the magnetisation beside the excitation (PS3.3 C.8.13.5.5 and .6)."""
    shared.MRModifierSequence = one_item(
        InversionRecovery="NO",
        FlowCompensation="NONE",
        Spoiling="NONE",
        T2Preparation="NO",
        SpectrallySelectedExcitation="NONE",
        SpatialPresaturation="NONE",
        PartialFourier="NO",
        ParallelAcquisition="NO",
    )
    shared.MRImagingModifierSequence = one_item(
        MagnetizationTransfer="NONE",
        BloodSignalNulling="NO",
        Tagging="NONE",
        TransmitterFrequency=63.87,
        PixelBandwidth=930.0,
    )


def _describe_coils(shared: Dataset) -> None:
    """Coils that excite and receive (PS3.3 C.8.13.5.7 and .8)."""
    shared.MRReceiveCoilSequence = one_item(
        ReceiveCoilName="SYNTHETIC",
        ReceiveCoilManufacturerName=MANUFACTURER,
        ReceiveCoilType="BODY",
        QuadratureReceiveCoil="YES",
    )
    shared.MRTransmitCoilSequence = one_item(
        TransmitCoilName="SYNTHETIC",
        TransmitCoilManufacturerName=MANUFACTURER,
        TransmitCoilType="BODY",
    )


def _frame_groups(placed: PlacedCine, phase: int, position: int, order: int) -> Dataset:
    """Functional groups of one frame; `order` is the slice's place among those written."""
    started = f"{START + order * _BREATH_HOLD:%Y%m%d%H%M%S}"
    frame = Dataset()
    frame.FrameContentSequence = one_item(
        FrameAcquisitionNumber=order + 1,
        FrameReferenceDateTime=started,
        FrameAcquisitionDateTime=started,
        FrameAcquisitionDuration=float(placed.rr_ms[position]) / placed.phases,
        CardiacCyclePosition="UNDETERMINED",
        StackID="1",
        InStackPositionNumber=order + 1,
        TemporalPositionIndex=phase + 1,
        DimensionIndexValues=[1, order + 1, phase + 1],
    )
    frame.PlanePositionSequence = one_item(
        ImagePositionPatient=placed.positions_mm[position].tolist()
    )
    frame.CardiacSynchronizationSequence = one_item(
        NominalCardiacTriggerDelayTime=float(placed.trigger_times_ms[phase, position]),
        RRIntervalTimeNominal=float(placed.rr_ms[position]),
        HeartRate=round(60_000 / placed.rr_ms[position]),
    )
    return frame
