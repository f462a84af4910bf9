"""Plain 2-D U-net.

Ronneberger, Fischer, Brox: U-Net: convolutional networks for biomedical image segmentation,
MICCAI 2015, doi:10.1007/978-3-319-24574-4_28; here with padded convolutions and batch
normalisation.

Shapes, for `levels` resolutions of `width`, 2 `width`, ... channels::

    images  [n, 1, y, x]     y and x multiples of 2 ** (levels - 1)
    logits  [n, classes, y, x]
"""

import torch
from torch import Tensor, nn


class DoubleConvolution(nn.Sequential):
    """Twice: 3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class UNet2D(nn.Module):
    """U-net of 3x3 convolutions with 2x2 max pooling and 2x2 up-convolutions.

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
            DoubleConvolution(before, after)
            for before, after in zip([1, *channels], channels, strict=False)
        )
        pairs = list(zip(channels[1:], channels, strict=False))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, high, 2, stride=2) for deep, high in pairs)
        self.merge = nn.ModuleList(DoubleConvolution(2 * high, high) for _, high in pairs)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes, y, x] of images [n, 1, y, x]."""
        skips: list[Tensor] = []
        features = images
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else nn.functional.max_pool2d(features, 2))
            skips.append(features)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            features = merge(torch.cat([skips.pop(), up(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits
