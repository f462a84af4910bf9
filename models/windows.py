"""Stacks of slices through networks that take a few slices at a time."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_CHUNK = 4  # windows per forward pass: bounds memory


def window_probabilities(network: nn.Module, stack: Tensor, depth: int = 3) -> Tensor:
    """Class probabilities of a stack: the mean over all windows that a slice lies in.

    Windows overlap by all slices but one. A stack of fewer slices than a window has its last
    slice repeated.

    Parameters
    ----------
    network : Module
        Logits [n, classes, depth, y, x] of images [n, 1, depth, y, x]; in evaluation mode.
    stack : float tensor [z, y, x]
        Prepared as in training.
    depth : int
        Slices of a window.

    Returns
    -------
    float tensor [classes, z, y, x]
    """
    slices = len(stack)
    padded = functional.pad(stack[None, None], (0, 0, 0, 0, 0, max(depth - slices, 0)), "replicate")
    windows = padded[0, 0].unfold(0, depth, 1).permute(0, 3, 1, 2)[:, None]
    with torch.inference_mode():
        found = torch.cat(
            [
                network(chunk.contiguous()).float().softmax(dim=1)
                for chunk in torch.split(windows, _CHUNK)
            ]
        )
    total = found.new_zeros((found.shape[1], padded.shape[2], *stack.shape[1:]))
    times = found.new_zeros(padded.shape[2])
    for first, window in enumerate(found):
        total[:, first : first + depth] += window
        times[first : first + depth] += 1
    return (total / times[:, None, None])[:, :slices]
