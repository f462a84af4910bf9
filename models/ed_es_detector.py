"""ED and ES from a whole cine: a convolutional network over time, and its two read-outs.

Each frame is the median of its slices. A plane block of four levels (two 3x3 convolutions with
batch normalisation and ReLU, then pooling; channels double from `width`) leaves one 11x11 map
per frame. Nine parallel spatio-temporal convolutions, 3x3 in the plane and 3, 5 or 7 frames long
with a dilation of 1, 2 or 4 in time, each with one filter, are concatenated with their input; an
11x11 convolution gives the logits of each frame. With `width` 64 this makes 4.69 M parameters.
Multi-scale dilation follows Yu and Koltun (ICLR 2016, arXiv:1511.07122).

Time is padded cyclically, not with zeros: the sequence is one turn of a cycle that repeats, and
so it does not matter to the network where the turn starts.

Shapes, for any number of frames t::

    frames  [n, 1, t, size, size]    size 176 at 1 mm
    logits  [n, 3, t]                ED, ES, background
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.preprocess import normalise
from models.unet import DoubleConvolution

ED, ES, BACKGROUND = 0, 1, 2
_LEVELS = 4
_LENGTHS = (3, 5, 7)
_DILATIONS = (1, 2, 4)

Float32 = npt.NDArray[np.float32]


class CyclicConvolution(nn.Module):
    """One filter, 3x3 in the plane and `length` frames long in a cyclic time; then norm, ReLU."""

    def __init__(self, length: int, dilation: int) -> None:
        super().__init__()
        self._reach = dilation * (length // 2)
        self.convolution = nn.Conv3d(
            1, 1, (length, 3, 3), padding=(0, 1, 1), dilation=(dilation, 1, 1), bias=False
        )
        self.norm = nn.BatchNorm3d(1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [n, 1, t, y, x] of maps [n, 1, t, y, x]."""
        frames = maps.shape[2]
        cycle = torch.arange(-self._reach, frames + self._reach, device=maps.device) % frames
        return functional.relu(self.norm(self.convolution(maps[:, :, cycle])))


class EdEsDetector(nn.Module):
    """Probability of ED and ES for each frame of a cine.

    Parameters
    ----------
    width : int
        Channels of the first level; they double at each of the three below.
    size : int
        Rows and columns of a frame, a multiple of 16.
    """

    def __init__(self, width: int = 24, size: int = 176) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(_LEVELS)]
        self.plane = nn.ModuleList(
            DoubleConvolution(before, after)
            for before, after in zip([1, *channels], channels, strict=False)
        )
        self.squeeze = nn.Conv2d(channels[-1], 1, 1)
        self.time = nn.ModuleList(
            CyclicConvolution(length, dilation) for length in _LENGTHS for dilation in _DILATIONS
        )
        self.head = nn.Conv2d(len(self.time) + 1, 3, size // 2**_LEVELS)

    def forward(self, frames: Tensor) -> Tensor:
        """Logits [n, 3, t] of frames [n, 1, t, size, size]."""
        features = frames.transpose(1, 2).flatten(0, 1)
        for block in self.plane:
            features = functional.max_pool2d(block(features), 2)
        maps = self.squeeze(features)
        maps = maps.view(len(frames), -1, *maps.shape[1:]).transpose(1, 2)
        seen = torch.cat([maps, *(path(maps) for path in self.time)], dim=1)
        logits: Tensor = self.head(seen.transpose(1, 2).flatten(0, 1))
        return logits.view(len(frames), -1, 3).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class FrameReading:
    """The frame that a probability curve tells.

    Attributes
    ----------
    frame : int
        Zero-based.
    sure : bool
        False where no frame passed the threshold: the verdict is "review".
    """

    frame: int
    sure: bool


def median_projection(stack: Float32, *, middle_only: bool = False) -> Float32:
    """Median over the slices of each frame.

    Parameters
    ----------
    stack : float32 [t, z, y, x]
    middle_only : bool
        The stack holds middle slices alone: all count. Otherwise the first and the last slice
        do not, if there are three or more.

    Returns
    -------
    float32 [t, y, x]
    """
    inner = stack if middle_only or stack.shape[1] < 3 else stack[:, 1:-1]
    return np.asarray(np.median(inner, axis=1), dtype=np.float32)


def framed(frames: Tensor, size: int) -> Tensor:
    """Input of the network: frames normalised one by one, zero around.

    Parameters
    ----------
    frames : float tensor [n, t, y, x]
        The square about the heart, at 1 mm.
    size : int
        Rows and columns of the input.

    Returns
    -------
    float tensor [n, 1, t, size, size]
    """
    normal = normalise(frames.flatten(0, 1)[:, None]).view(frames.shape)
    before = (size - frames.shape[-1]) // 2
    after = size - frames.shape[-1] - before
    return functional.pad(normal, (before, after, before, after))[:, None]


def central_frame(probability: npt.NDArray[np.floating], threshold: float = 0.9) -> FrameReading:
    """Central method: the middle one of the frames whose probability is above a threshold.

    The sequence is cyclic: it is cut open where the frames that pass lie farthest apart. Of the
    two in the middle of an even number, the likelier is taken. If none passes, the likeliest frame
    is, and the reading is not sure.

    Parameters
    ----------
    probability : float [t]
        Of one class in each frame.
    threshold : float
    """
    passing = np.flatnonzero(probability > threshold)
    if not len(passing):
        return FrameReading(int(np.argmax(probability)), sure=False)
    gaps = np.diff(passing, append=passing[0] + len(probability))
    ordered = np.roll(passing, -1 - int(np.argmax(gaps)))
    middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
    return FrameReading(int(middle[np.argmax(probability[middle])]), sure=True)


def likeliest_frame(probability: npt.NDArray[np.floating], threshold: float = 0.9) -> FrameReading:
    """Naive method: the frame of the highest probability; sure if that is above the threshold."""
    frame = int(np.argmax(probability))
    return FrameReading(frame, sure=bool(probability[frame] > threshold))
