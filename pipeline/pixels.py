"""Pixel values of one instance, as the modality means them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from pipeline.case import Float32, UInt8
from pipeline.elements import UNREADABLE, quiet_pydicom
from pipeline.errors import Rejection
from pipeline.versions import digest_content

# In the order of preference: JPEG-LS; JPEG and JPEG 2000; RLE.
_PLUGINS = ("pyjpegls", "pylibjpeg", "pydicom")
_ENDS_WITH_MARKER = (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)


@dataclass(frozen=True, slots=True)
class DecodedInstance:
    """One instance, decoded.

    Attributes
    ----------
    header : Dataset
        The data set without its pixel data, else as received.
    digest : str
        SHA-256 as in `pipeline.versions.digest_bytes`.
    images : float32 [frame, y, x]
        Rescaled values (PS3.3 C.11.1); of MONOCHROME1 inverted, so that more is brighter.
    """

    header: Dataset
    digest: str
    images: Float32


def decode_instance(path: Path, sop_instance_uid: str) -> DecodedInstance:
    """Read and decode a stored instance of any transfer syntax the decoders know.

    Parameters
    ----------
    path : Path
        A DICOM Part 10 file.
    sop_instance_uid : str
        Named in the rejection.

    Raises
    ------
    Rejection
        ``unreadable``; ``not_greyscale``; ``unreadable_pixels``: absent, truncated, broken, of a
        transfer syntax without decoder, or with a rescale that is no number, not positive, or leads
        to infinite values.
    OSError
        The file cannot be read now.
    """
    content = path.read_bytes()
    try:
        digest = digest_content(content)
    except Rejection as rejection:
        raise Rejection(rejection.code, rejection.reason, sop_instance_uid) from rejection
    with quiet_pydicom():
        try:
            dataset = dcmread(BytesIO(content))
            _refuse_no_pixels(dataset, sop_instance_uid)
            _refuse_colour(dataset, sop_instance_uid)
            _refuse_cut_codestream(dataset)
            images = _modality_values(dataset, sop_instance_uid)
        except UNREADABLE as error:
            raise Rejection(
                "unreadable_pixels",
                f"its pixels cannot be decoded ({type(error).__name__})",
                sop_instance_uid,
            ) from error
    return DecodedInstance(_without_pixels(dataset), digest, images)


def decode_colour(dataset: Dataset, sop_instance_uid: str) -> UInt8:
    """Decode the pictures of an instance, whatever its colours.

    Shades of grey are spread from the darkest to the brightest that is there, unless they have 8
    bits; of MONOCHROME1 they are inverted.

    Parameters
    ----------
    dataset : Dataset
        With its pixels and its file meta information.
    sop_instance_uid : str
        Named in the rejection.

    Returns
    -------
    uint8 [frame, y, x, 3]
        Red, green, blue.

    Raises
    ------
    Rejection
        ``unreadable_pixels``: absent, broken, or of a transfer syntax or kind without decoder.
    """
    with quiet_pydicom():
        try:
            _refuse_no_pixels(dataset, sop_instance_uid)
            _refuse_cut_codestream(dataset)
            kind = str(dataset.PhotometricInterpretation).strip()
            plugin = _plugin(dataset.file_meta.TransferSyntaxUID)
            stored = pixel_array(dataset, decoding_plugin=plugin)
            if kind == "PALETTE COLOR":
                stored = apply_color_lut(stored, dataset)
            shades = kind in ("MONOCHROME1", "MONOCHROME2")
            pictures = _eight_bits(stored, dataset, spread=shades)
        except UNREADABLE as error:
            reason = f"its pixels cannot be decoded ({type(error).__name__})"
            raise Rejection("unreadable_pixels", reason, sop_instance_uid) from error
    if kind == "MONOCHROME1":
        pictures = 255 - pictures
    if shades:
        pictures = np.repeat(pictures[..., None], 3, axis=-1)
    return np.ascontiguousarray(pictures.reshape(-1, *pictures.shape[-3:])[..., :3])


def _eight_bits(values: npt.NDArray[Any], dataset: Dataset, *, spread: bool) -> UInt8:
    if values.dtype == np.uint8 and int(dataset.BitsStored) == 8:
        return values
    if not spread:  # tables of colours and RGB of 16 bits
        return np.asarray(values.astype(np.uint32) * 255 // np.iinfo(values.dtype).max, np.uint8)
    low, high = float(values.min()), float(values.max())
    scaled = (values.astype(np.float64) - low) * (255 / max(high - low, 1))
    return np.asarray(scaled.round(), dtype=np.uint8)


def _refuse_no_pixels(dataset: Dataset, sop_instance_uid: str) -> None:
    if "PixelData" not in dataset:
        raise Rejection("unreadable_pixels", "it has no pixel data", sop_instance_uid)


def _refuse_colour(dataset: Dataset, sop_instance_uid: str) -> None:
    kind = str(dataset.get("PhotometricInterpretation", "MONOCHROME2")).strip()
    if kind not in ("MONOCHROME1", "MONOCHROME2") or dataset.get("SamplesPerPixel", 1) != 1:
        raise Rejection("not_greyscale", "its pixels are not shades of grey", sop_instance_uid)


def _refuse_cut_codestream(dataset: Dataset) -> None:
    """Refuse JPEG and JPEG-LS frames without their end (EOI, ITU-T T.81 B.1.1.3).

    The decoder makes an image of wrong values from a frame that was cut.
    """
    if dataset.file_meta.TransferSyntaxUID not in _ENDS_WITH_MARKER:
        return
    number = int(dataset.get("NumberOfFrames") or 1)
    for frame in generate_frames(dataset.PixelData, number_of_frames=number):
        if not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise ValueError("a frame ends before its end marker")


def _modality_values(dataset: Dataset, sop_instance_uid: str) -> Float32:
    stored = pixel_array(dataset, decoding_plugin=_plugin(dataset.file_meta.TransferSyntaxUID))
    stored = stored.reshape(-1, *stored.shape[-2:])
    values = stored.astype(np.float32)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = _darkest_plus_brightest(dataset) - values
    with np.errstate(over="ignore", invalid="ignore"):
        rescales = np.array(list(_rescales(dataset, len(stored))), np.float32)
        values *= rescales[:, 0, None, None]
        values += rescales[:, 1, None, None]
    if rescales[:, 0].min() <= 0:
        reason = "its rescale slope is not positive, which leaves no image or inverts it"
        raise Rejection("unreadable_pixels", reason, sop_instance_uid)
    if not np.isfinite(values).all():
        reason = "its pixels are not finite once rescaled"
        raise Rejection("unreadable_pixels", reason, sop_instance_uid)
    return values


def _plugin(transfer_syntax_uid: UID) -> str:
    """The one decoder that is used; empty where pixels are not compressed.

    Left to itself pydicom tries the next one when one fails, and some fail less than they should;
    which are installed must not decide the values either.
    """
    if not transfer_syntax_uid.is_encapsulated:
        return ""
    available = get_decoder(transfer_syntax_uid).available_plugins
    preferred = [plugin for plugin in _PLUGINS if plugin in available]
    if not preferred:
        raise NotImplementedError("no decoder for this transfer syntax")
    return preferred[0]


def _darkest_plus_brightest(dataset: Dataset) -> np.float32:
    """Sum of the extremes of the stored value range; a value and its inverse add up to it."""
    signed = int(dataset.PixelRepresentation) == 1
    return np.float32(-1 if signed else 2 ** int(dataset.BitsStored) - 1)


def _rescales(dataset: Dataset, n_frames: int) -> Iterator[tuple[float, float]]:
    """Rescale slope and intercept of each frame (PS3.3 C.11.1, C.7.6.16.2.9); 1 and 0 if absent."""
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
    per_frame = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    for number in range(n_frames):
        groups = [*per_frame[number : number + 1], *shared]
        found = [group.get("PixelValueTransformationSequence") for group in groups]
        item = next((sequence[0] for sequence in found if sequence), dataset)
        slope, intercept = _number(item, "RescaleSlope", 1), _number(item, "RescaleIntercept", 0)
        yield slope, intercept


def _number(dataset: Dataset, keyword: str, absent: float) -> float:
    stated = dataset.get(keyword)
    value = absent if stated in (None, "") else float(stated)
    if not math.isfinite(value):
        raise ValueError(f"{keyword} is not finite")
    return value


def _without_pixels(dataset: Any) -> Dataset:
    """Drop the pixels, and the buffer of the whole file that pydicom keeps."""
    del dataset.PixelData
    dataset.buffer = None
    header: Dataset = dataset
    return header
