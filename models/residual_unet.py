"""Residual 2-D U-net that sees neighbouring slices; the default segmenter.

The U-net of Ronneberger et al. (MICCAI 2015, doi:10.1007/978-3-319-24574-4_28) with a residual
encoder (He et al., CVPR 2016, doi:10.1109/CVPR.2016.90), strided convolutions, logits at three
resolutions in training (deep supervision: Lee et al., AISTATS 2015) and, at the two finest
encoder levels, instance normalisation, which keeps a scanner's contrast out of the deeper
features (Pan et al., ECCV 2018, doi:10.1007/978-3-030-01225-0_29).

Shapes, for `levels` resolutions of `width`, 2 `width`, ... channels, at most `widest`::

    images  [n, slices, y, x]   y and x multiples of 2 ** (levels - 1)
    logits  [n, classes, y, x]  of the middle slice; in training also at y/2, x/2 and y/4, x/4
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

_INSTANCE_LEVELS = 2


def _normalisation(channels: int, level: int) -> nn.Module:
    if level < _INSTANCE_LEVELS:
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.BatchNorm2d(channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the first may halve the resolution."""

    def __init__(self, channels_in: int, channels_out: int, level: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.first_norm = _normalisation(channels_out, level)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(channels_in, channels_out, 1, bias=False)
            )
        elif channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features [n, channels_out, y / stride, x / stride]."""
        changed = nn.functional.relu(self.first_norm(self.first(features)), inplace=True)
        changed = self.second_norm(self.second(changed)).add_(self.shortcut(features))
        return nn.functional.relu(changed, inplace=True)


class ResidualUNet2D(nn.Module):
    """U-net with one residual block per level at the finest resolution and two below.

    Parameters
    ----------
    slices : int
        Channels of the input: the slice to label with its neighbours on either side.
    width : int
        Channels at full resolution; they double at each level below.
    widest : int
        No level has more channels.
    levels : int
        Number of resolutions, at least 3.
    classes : int
        Channels of the logits.
    """

    def __init__(
        self,
        slices: int = 3,
        width: int = 16,
        widest: int = 256,
        levels: int = 5,
        classes: int = 4,
    ) -> None:
        super().__init__()
        channels = [min(width * 2**level, widest) for level in range(levels)]
        self.stem = ResidualBlock(slices, width, level=0)
        self.down = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(before, after, level, stride=2),
                *([ResidualBlock(after, after, level)] if level >= 2 else []),
            )
            for level, (before, after) in enumerate(pairwise(channels), start=1)
        )
        pairs = list(pairwise(channels))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, high, 2, stride=2) for high, deep in pairs)
        self.merge = nn.ModuleList(
            ResidualBlock(2 * high, high, level=_INSTANCE_LEVELS) for high, _ in pairs
        )
        self.heads = nn.ModuleList(nn.Conv2d(high, classes, 1) for high, _ in pairs[-3:])

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits of the middle slice; in training finest first, one per resolution."""
        features: Tensor = self.stem(images)
        skips = [features]
        for block in self.down:
            features = block(features)
            skips.append(features)
        skips.pop()
        decoded = []
        for up, merge in zip(self.up, self.merge, strict=True):
            features = merge(torch.cat([skips.pop(), up(features)], dim=1))
            decoded.append(features)
        if self.training:
            coarse_first = zip(self.heads, decoded[-3:], strict=True)
            return tuple(head(level) for head, level in coarse_first)[::-1]
        logits: Tensor = self.heads[-1](features)
        return logits
