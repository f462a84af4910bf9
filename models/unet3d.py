"""3-D U-net that halves only the plane.

The 3-D U-net of Çiçek et al. (MICCAI 2016, doi:10.1007/978-3-319-46723-8_49) for short-axis
stacks, whose slices lie far apart: 3x3x3 convolutions with batch normalisation and ReLU, four
poolings and up-convolutions of 2x2 in the plane, the number of slices the same at every level.
At `width` 64 (64 ... 1024 channels) it has 87.5 M parameters.

Shapes, for any number of slices z (three at a time in segmentation)::

    images      [n, 1, z, y, x]           y and x multiples of 2 ** (levels - 1), e.g. 3 x 176 x 176
    bottleneck  [n, 16 width, z, y/16, x/16]   with five levels
    logits      [n, classes, z, y, x]
"""

import torch
from torch import Tensor, nn

_POOL = (1, 2, 2)


class DoubleConvolution3D(nn.Sequential):
    """Twice: 3x3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv3d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        )


class UNet3D(nn.Module):
    """U-net of 3x3x3 convolutions that keeps every slice at every level.

    Parameters
    ----------
    width : int
        Channels at full resolution; they double at each level below.
    levels : int
        Number of resolutions.
    classes : int
        Channels of the logits.
    """

    def __init__(self, width: int = 16, levels: int = 5, classes: int = 4) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            DoubleConvolution3D(before, after)
            for before, after in zip([1, *channels], channels, strict=False)
        )
        pairs = list(zip(channels[1:], channels, strict=False))[::-1]
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(deep, high, _POOL, stride=_POOL) for deep, high in pairs
        )
        self.merge = nn.ModuleList(DoubleConvolution3D(2 * high, high) for _, high in pairs)
        self.head = nn.Conv3d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes, z, y, x] of images [n, 1, z, y, x]."""
        return self.with_bottleneck(images)[0]

    def with_bottleneck(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the features of the deepest level."""
        skips: list[Tensor] = []
        features = images
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else nn.functional.max_pool3d(features, _POOL))
            skips.append(features)
        bottleneck = skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            features = merge(torch.cat([skips.pop(), up(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits, bottleneck
