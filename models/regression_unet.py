"""Regression U-net: an LV volume from images, learned from volumes alone.

A 3-D U-net (`models.unet3d`) whose only output is a sigmoid map of the LV (class activation map,
CAM); the fixed scanning module (`models.scanning`) reads volume and roundness from it. Its loss
(`models.training.weighted_losses.regression_loss`) needs no contour. At `width` 32 (32 ... 512
channels) it has 21.88 M parameters.

88 is no multiple of 16, as the four poolings need: the images are padded with zeros to the next
one and the map is cut back.

Shapes, for any number of slices z::

    images      [n, 1, z, y, x]        88 x 88 at 2 mm
    cam         [n, z, y, x]           0 to 1
    bottleneck  [n, 16 width, z, 6, 6]
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from models.preprocess import normalise
from models.unet3d import UNet3D

_LEVELS = 5


def prepared(volumes: Tensor) -> Tensor:
    """Input of the network: slices on the grid [n, z, y, x] normalised one by one; [n, 1, z, y, x].

    The one code of training and of service.
    """
    return normalise(volumes.flatten(0, 1)[:, None]).view(volumes.shape)[:, None]


class RegressionOutput(NamedTuple):
    """Map of the LV [n, z, y, x], in single precision, and deepest features [n, c, z, y, x]."""

    cam: Tensor
    bottleneck: Tensor


class RegressionUNet(nn.Module):
    """3-D U-net with a single map as output.

    Parameters
    ----------
    width : int
        Channels at full resolution; they double at each level below.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body = UNet3D(width, _LEVELS, classes=1)

    def forward(self, images: Tensor) -> RegressionOutput:
        """Map and bottleneck of images [n, 1, z, y, x]."""
        rows, columns = images.shape[-2:]
        missing = [-length % 2 ** (_LEVELS - 1) for length in (columns, rows)]
        padded = functional.pad(images, (0, missing[0], 0, missing[1]))
        logits, bottleneck = self.body.with_bottleneck(padded)
        return RegressionOutput(logits[:, 0, :, :rows, :columns].float().sigmoid(), bottleneck)
