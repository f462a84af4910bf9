"""MobileNet V1 with the head of the perfusion study: images in three channels to class logits.

Howard et al. 2017, arXiv:1704.04861: a 3x3 convolution, then thirteen blocks of a depthwise 3x3 and
a pointwise 1x1 convolution, each with batch normalisation and a ReLU that is cut at 6, and the mean
over all places. Without a head and at full width that is 3,206,976 parameters (3,228,864 with the
batch statistics). The head of the perfusion study: 128, dropout 0.3, 256, dropout 0.4, classes.

Shapes::

    images  [n, 3, 224, 224]   0 to 1
    logits  [n, classes]
"""

from itertools import pairwise
from typing import Self

from torch import Tensor, nn

_CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_HALVING = (2, 4, 6, 12)  # blocks whose depthwise convolution has stride 2
_FROZEN_BLOCKS = 9


class MobileNet(nn.Module):
    """MobileNet V1.

    Parameters
    ----------
    width_percent : int
        Channels in percent of those of the paper.
    classes : int
    """

    def __init__(self, width_percent: int = 100, classes: int = 3) -> None:
        super().__init__()
        channels = [max(8, count * width_percent // 100) for count in _CHANNELS]
        blocks = (
            _block(before, after, 2 if number in _HALVING else 1)
            for number, (before, after) in enumerate(pairwise(channels), start=1)
        )
        stem = _normalised(nn.Conv2d(3, channels[0], 3, 2, padding=1, bias=False))
        self.features = nn.Sequential(stem, *blocks)
        self.head = nn.Sequential(
            nn.Linear(channels[-1], 128), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(128, 256), nn.ReLU(), nn.Dropout(0.4),
            nn.Linear(256, classes),
        )  # fmt: skip
        self._frozen: tuple[nn.Module, ...] = ()

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits

    def freeze(self) -> None:
        """Keep the stem and blocks 1 to 9 as they are, batch statistics too.

        For training from a weights file: blocks 10 to 13, which the perfusion study names as the
        layers from index 60 on (counted as Keras does), and the head go on learning.
        """
        self._frozen = tuple(self.features.children())[: _FROZEN_BLOCKS + 1]
        for module in self._frozen:
            module.requires_grad_(requires_grad=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self


def _block(before: int, after: int, stride: int) -> nn.Sequential:
    """Depthwise, then pointwise convolution."""
    depthwise = nn.Conv2d(before, before, 3, stride, padding=1, groups=before, bias=False)
    return nn.Sequential(
        _normalised(depthwise), _normalised(nn.Conv2d(before, after, 1, bias=False))
    )


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(
        convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU6(inplace=True)
    )
