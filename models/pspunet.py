"""PSPU-net: a 2-D U-net with pyramid scene parsing in its skip connections.

The U-net of Ronneberger et al. (MICCAI 2015, doi:10.1007/978-3-319-24574-4_28), whose skip
connections pass through modules in the manner of Zhao et al., Pyramid scene parsing network
(CVPR 2017, doi:10.1109/CVPR.2017.660): parallel paths see the features sampled down by 2, 4, 8
and 16 and are brought back; each level below has one path fewer, the coarsest, and twice the
filters per path.

The network sees stacks of slices but convolves each slice by itself (3x3x1), so slices are
computed as a batch.

Reconstruction. What the source gives in a figure alone is settled by its count of 30.83 M at
`width` 32 (32 ... 512 channels): one 3x3 convolution per path with 4 `width` filters at the top,
the paths concatenated without their input, and one fusing 3x3 convolution. Fused to the channels
of the skip this makes 16.0 M; fused to the filters of one path, which the convolutions of the
up-sampling side then bring to the channels of the level, 30.77 M. The latter is built.

Shapes, for any number of slices z::

    images  [n, 1, z, y, x]           y and x multiples of 16, e.g. 3 x 176 x 176
    logits  [n, classes, z, y, x]
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.unet import DoubleConvolution

_LEVELS = 5


class NormalisedConvolution(nn.Sequential):
    """3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class PyramidModule(nn.Module):
    """Paths that see the features at half, a quarter, ... of their resolution, side by side.

    Parameters
    ----------
    channels : int
        Of the features that come in.
    filters : int
        Of each path, and of what comes out.
    paths : int
        The coarsest samples down by 2 ** paths.
    """

    def __init__(self, channels: int, filters: int, paths: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(NormalisedConvolution(channels, filters) for _ in range(paths))
        self.fuse = NormalisedConvolution(paths * filters, filters)

    def forward(self, features: Tensor) -> Tensor:
        """Features [n, filters, y, x] of features [n, channels, y, x]."""
        size = list(features.shape[-2:])
        coarse, seen = features, []
        for path in self.paths:
            coarse = functional.avg_pool2d(coarse, 2)
            seen.append(functional.interpolate(path(coarse), size, mode="bilinear"))
        fused: Tensor = self.fuse(torch.cat(seen, dim=1))
        return fused


class PSPUNet(nn.Module):
    """U-net of 3x3 convolutions with a pyramid module in each of its four skip connections.

    Parameters
    ----------
    width : int
        Channels at full resolution; they double at each level below. A path of the highest
        pyramid module has four times as many filters.
    classes : int
        Channels of the logits.
    """

    def __init__(self, width: int = 8, classes: int = 4) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(_LEVELS)]
        self.down = nn.ModuleList(
            DoubleConvolution(before, after)
            for before, after in zip([1, *channels], channels, strict=False)
        )
        self.skip = nn.ModuleList(
            PyramidModule(high, 4 * high, _LEVELS - 1 - level)
            for level, high in enumerate(channels[:-1])
        )
        pairs = list(zip(channels[1:], channels, strict=False))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, high, 2, stride=2) for deep, high in pairs)
        self.merge = nn.ModuleList(DoubleConvolution(5 * high, high) for _, high in pairs)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes, z, y, x] of images [n, 1, z, y, x]."""
        slices = images.transpose(1, 2).flatten(0, 1)
        logits = self._plane(slices)
        return logits.view(len(images), -1, *logits.shape[1:]).transpose(1, 2)

    def _plane(self, slices: Tensor) -> Tensor:
        """Logits [n, classes, y, x] of slices [n, 1, y, x]."""
        skips: list[Tensor] = []
        features = slices
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else functional.max_pool2d(features, 2))
            if level < len(self.skip):
                skips.append(self.skip[level](features))
        for up, merge in zip(self.up, self.merge, strict=True):
            features = merge(torch.cat([skips.pop(), up(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits
