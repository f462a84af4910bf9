"""ResNet50V2 (pre-activation): images in three channels to class logits.

He et al. 2016, arXiv:1603.05027, with the layers of the Keras application that the literature
uses: a 7x7 convolution and a maximum, then four stages of 3, 4, 6 and 3 bottlenecks, in each of
which batch normalisation and ReLU stand before the convolutions; the last bottleneck of a stage
but the fourth halves the image. Without its last layer and at full width that is 23,519,360
parameters (23,564,800 with the batch statistics).

Shapes::

    images  [n, 3, y, x]
    logits  [n, classes]
"""

from collections import OrderedDict
from typing import Self

from torch import Tensor, nn

_CHANNELS = (64, 128, 256, 512)
_BOTTLENECKS = (3, 4, 6, 3)
_WIDENING = 4


class ResNet50V2(nn.Module):
    """ResNet50V2.

    Parameters
    ----------
    width_percent : int
        Channels in percent of those of the paper.
    classes : int
    """

    def __init__(self, width_percent: int = 100, classes: int = 5) -> None:
        super().__init__()
        channels = [max(8, count * width_percent // 100) for count in _CHANNELS]
        layers: list[nn.Module] = [
            nn.Conv2d(3, channels[0], 7, 2, padding=3),
            nn.MaxPool2d(3, 2, padding=1),
        ]
        before = channels[0]
        for stage, (inner, count) in enumerate(zip(channels, _BOTTLENECKS, strict=True), start=1):
            for number in range(1, count + 1):
                stride = 2 if number == count and stage < len(channels) else 1
                layers.append(Bottleneck(before, inner, stride, projected=number == 1))
                before = _WIDENING * inner
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU(inplace=True))
        self.head = nn.Linear(before, classes)
        self._frozen = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits

    def freeze(self) -> None:
        """Keep all but the head as it is, batch statistics too.

        For training from a weights file, as the study of disease groups trains: only the head goes
        on learning.
        """
        self._frozen = True
        self.features.requires_grad_(requires_grad=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        if self._frozen:
            self.features.eval()
        return self


class Bottleneck(nn.Module):
    """What is added to its input: 1x1, 3x3 and 1x1 convolutions, each after its activation.

    Parameters
    ----------
    before : int
        Channels of the input.
    inner : int
        Channels of the first two convolutions; the last has four times as many.
    stride : int
        Of the 3x3 convolution.
    projected : bool
        The input is brought to the channels of the output by a 1x1 convolution.
    """

    def __init__(self, before: int, inner: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        after = _WIDENING * inner
        self.active = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU(inplace=False))
        self.shortcut: nn.Module = nn.Identity()
        if projected:
            self.shortcut = nn.Conv2d(before, after, 1, stride)
        elif stride > 1:
            self.shortcut = nn.MaxPool2d(1, stride)
        self.projected = projected
        self.residual = nn.Sequential(
            OrderedDict(
                reduce=nn.Conv2d(before, inner, 1, bias=False),
                active_1=nn.Sequential(nn.BatchNorm2d(inner), nn.ReLU(inplace=True)),
                look=nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False),
                active_2=nn.Sequential(nn.BatchNorm2d(inner), nn.ReLU(inplace=True)),
                widen=nn.Conv2d(inner, after, 1),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images [n, after, y, x], smaller by the stride."""
        active = self.active(images)
        added: Tensor = self.shortcut(active if self.projected else images) + self.residual(active)
        return added
