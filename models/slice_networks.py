"""Networks that tell slices with LV from slices without: one shallow, three well known.

`SliceCNN` has the three convolutions of the De-CMR study that placed batch normalisation after
each of them (A2), before each (A3) or nowhere (A1). That study states neither filters nor the
layers behind them; here each convolution is followed by ReLU and 3x3 max pooling, the same linear
decision is made at every place behind the third, and the place that speaks most for the LV decides.
In training it also gives what it says of each place, to be told where the LV is.

- SqueezeNet 1.1: Iandola et al. 2016, arXiv:1602.07360
- AlexNet: Krizhevsky, arXiv:1404.5997 (2014), the variant in one column
- GoogLeNet: Szegedy et al., CVPR 2015, arXiv:1409.4842; without auxiliary outputs, with batch
  normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167) after each convolution

Shapes of all::

    images  [n, 1, 227, 227]   the well-known three repeat them to three channels
    logits  [n, classes]       0 no LV, 1 LV
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

_NONE, _AFTER, _BEFORE = 1, 2, 3


class SliceCNN(nn.Module):
    """Three convolutions, and one decision at every place.

    Parameters
    ----------
    arrangement : int
        Batch normalisation: 1 nowhere, 2 after each convolution, 3 before each.
    width : int
        Filters of the first convolution; they double twice.
    """

    def __init__(self, arrangement: int = 2, width: int = 24) -> None:
        super().__init__()
        channels = (1, width, 2 * width, 4 * width)
        sizes = ((7, 2), (5, 1), (5, 1))
        layers: list[nn.Module] = []
        for (before, after), (size, stride) in zip(pairwise(channels), sizes, strict=True):
            if arrangement == _BEFORE:
                layers.append(nn.BatchNorm2d(before))
            layers.append(nn.Conv2d(before, after, size, stride, padding=size // 2))
            if arrangement == _AFTER:
                layers.append(nn.BatchNorm2d(after))
            layers += [nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(channels[-1], 1, 1)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [n, 2]; in training also the log odds [n, y / 16, x / 16] of the LV by place."""
        places = self.head(self.features(images))[:, 0]
        strongest = places.amax(dim=(1, 2)) / 2
        logits = torch.stack([-strongest, strongest], dim=1)
        return (logits, places) if self.training else logits


class Fire(nn.Module):
    """Squeeze to few channels, then 1x1 and 3x3 convolutions side by side."""

    def __init__(self, channels_in: int, squeezed: int, each: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, squeezed, 1)
        self.narrow = nn.Conv2d(squeezed, each, 1)
        self.wide = nn.Conv2d(squeezed, each, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [n, 2 each, y, x]."""
        squeezed = self.squeeze(features).relu()
        return torch.cat([self.narrow(squeezed), self.wide(squeezed)], dim=1).relu()


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1, without its last ReLU: of two classes it can silence both for good."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True), pool,
            Fire(64, 16, 64), Fire(128, 16, 64), pool,
            Fire(128, 32, 128), Fire(256, 32, 128), pool,
            Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(512, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        answers: Tensor = self.head(self.features(_three_channels(images)))
        return answers.mean(dim=(2, 3))


class AlexNet(nn.Module):
    """AlexNet in one column."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, padding=2), relu, nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), relu, nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), relu,
            nn.Conv2d(384, 256, 3, padding=1), relu,
            nn.Conv2d(256, 256, 3, padding=1), relu, nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.5), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, classes),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        logits: Tensor = self.head(self.features(_three_channels(images)))
        return logits


class _Convolution(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, before: int, after: int, size: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )


class Inception(nn.Module):
    """Convolutions of three sizes and pooling side by side.

    Parameters
    ----------
    before : int
        Channels of the input.
    narrow, middle, wide : int or (int, int)
        Channels of the 1x1, and of the reduction and the convolution of the two larger branches.
    pooled : int
        Channels behind the pooling.
    """

    def __init__(
        self, before: int, narrow: int, middle: tuple[int, int], wide: tuple[int, int], pooled: int
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _Convolution(before, narrow, 1),
                nn.Sequential(_Convolution(before, middle[0], 1), _Convolution(*middle, 3)),
                nn.Sequential(_Convolution(before, wide[0], 1), _Convolution(*wide, 3)),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), _Convolution(before, pooled, 1)),
            ]
        )

    def forward(self, features: Tensor) -> Tensor:
        """The channels of all branches."""
        return torch.cat([branch(features) for branch in self.branches], dim=1)


class GoogLeNet(nn.Module):
    """GoogLeNet; its 5x5 branches are 3x3, as in the implementation most weights exist for."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.features = nn.Sequential(
            _Convolution(3, 64, 7, 2), pool,
            _Convolution(64, 64, 1), _Convolution(64, 192, 3), pool,
            Inception(192, 64, (96, 128), (16, 32), 32),
            Inception(256, 128, (128, 192), (32, 96), 64), pool,
            Inception(480, 192, (96, 208), (16, 48), 64),
            Inception(512, 160, (112, 224), (24, 64), 64),
            Inception(512, 128, (128, 256), (24, 64), 64),
            Inception(512, 112, (144, 288), (32, 64), 64),
            Inception(528, 256, (160, 320), (32, 128), 128), pool,
            Inception(832, 256, (160, 320), (32, 128), 128),
            Inception(832, 384, (192, 384), (48, 128), 128),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(1024, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        logits: Tensor = self.head(self.features(_three_channels(images)).mean(dim=(2, 3)))
        return logits


def _three_channels(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)
