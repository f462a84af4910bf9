"""Dual-branch network for pictures of 12-lead ECG sheets: single waves, and the sheet as a whole.

After a published two-branch classifier of ECG images. One branch is ResNet-18 (He et al. 2016,
doi:10.1109/CVPR.2016.90), which sees waves; the other looks at every pixel at once through one
dense layer, which sees rhythm and layout; both meet in four places. At `width` 64 it has the
published size; what ships is narrower in the first branch. All layers start from random weights:
the published network started the first branch from ImageNet.

Shapes::

    images    [n, 3, 227, 227]
    spatial   [n, 8 width, 8, 8] -> 1x1 -> [n, 224, 8, 8] -> pooled [n, 224, 2, 2]
    whole     154,587 -> 16 -> [n, 1, 4, 4] -> [n, 32, 2, 2] -> [n, 64, 2, 2], both: [n, 96, 2, 2]
    fused     [n, 320, 2, 2] -> 1x1 -> [n, 256, 2, 2] -> 1,024 -> 512 -> logits [n, classes]
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

SIDE = 227
"""Rows and columns of the input."""
_SLOPE = 0.1  # of LeakyReLU below zero
_DROPOUT = 0.3


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is 1x1 where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Features [n, after, y / stride, x / stride]."""
        summed: Tensor = self.convolutions(features) + self.shortcut(features)
        return summed.relu()


class ResNet18(nn.Sequential):
    """ResNet-18 without its head: images [n, 3, y, x] to features [n, 8 width, y / 32, x / 32]."""

    def __init__(self, width: int = 64) -> None:
        channels = (width, width, 2 * width, 4 * width, 8 * width)
        blocks = [
            BasicBlock(first, after, stride)
            for level, (before, after) in enumerate(pairwise(channels))
            for first, stride in ((before, 2 if level else 1), (after, 1))
        ]
        super().__init__(
            nn.Conv2d(3, width, 7, 2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, padding=1),
            *blocks,
        )


class WholeImage(nn.Module):
    """Every pixel in one dense layer, then two small convolutions; [n, 96, 2, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * SIDE**2, 16), nn.BatchNorm1d(16), nn.LeakyReLU(_SLOPE)
        )
        self.unpadded = nn.Sequential(nn.Conv2d(1, 32, 3), nn.LeakyReLU(_SLOPE))
        self.padded = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.LeakyReLU(_SLOPE))

    def forward(self, images: Tensor) -> Tensor:
        """Features of both convolutions, [n, 96, 2, 2]."""
        first = self.unpadded(self.dense(images).view(-1, 1, 4, 4))
        return torch.cat([first, self.padded(first)], dim=1)


class EcgDualBranch(nn.Module):
    """What an ECG sheet shows.

    Parameters
    ----------
    width : int
        Channels of the first convolution of ResNet-18; 64 as published.
    classes : int
    """

    def __init__(self, width: int = 32, classes: int = 4) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            ResNet18(width), nn.Conv2d(8 * width, 224, 1), nn.AdaptiveAvgPool2d(2)
        )
        self.whole = WholeImage()
        self.fuse = nn.Sequential(nn.Conv2d(224 + 96, 256, 1), nn.LeakyReLU(_SLOPE))
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(4 * 256, 512),
            nn.LeakyReLU(_SLOPE),
            nn.Dropout(_DROPOUT),
            nn.Linear(512, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        both = torch.cat([self.spatial(images), self.whole(images)], dim=1)
        logits: Tensor = self.head(self.fuse(both))
        return logits
