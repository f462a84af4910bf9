"""What computes the networks, and how exactly."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from config.errors import ConfigError

Precision = Literal["float32", "bfloat16"]
_ORDERS = {4: torch.channels_last, 5: torch.channels_last_3d}


def place(network: nn.Module, device: str) -> nn.Module:
    """The network on a device, its kernels in channels-last order, which CPUs compute faster."""
    moved = network.to(device)
    for parameter in moved.parameters():
        if parameter.ndim in _ORDERS:
            parameter.data = parameter.data.contiguous(memory_format=_ORDERS[parameter.ndim])
    return moved


@dataclass(frozen=True, slots=True)
class Backend:
    """Where networks compute, and with what numbers.

    Attributes
    ----------
    device : {"cpu", "cuda"}
    precision : {"float32", "bfloat16"}
        In bfloat16 convolutions and matrix products round to 8 bits of mantissa, which processors
        that have instructions for it compute about twice as fast.
    """

    device: str = "cpu"
    precision: Precision = "float32"

    @property
    def name(self) -> str:
        """What computes, to the extent that it can decide a bit of a result."""
        short = {"float32": "fp32", "bfloat16": "bf16"}[self.precision]
        return f"torch-{torch.__version__}-{self.device}-{short}"

    @property
    def exact(self) -> "Backend":
        """The same device in float32."""
        return replace(self, precision="float32")

    def ready(self, network: nn.Module) -> nn.Module:
        """The network on the device, computing in the precision."""
        placed = place(network, self.device)
        if self.precision == "float32":
            return placed
        exact = placed.forward

        def rounded(*inputs: Any) -> Any:
            with torch.autocast(self.device, torch.bfloat16):
                return exact(*inputs)

        placed.forward = rounded
        return placed


CPU = Backend()


def choose_backend(
    device: Literal["auto", "cpu", "cuda"],
    precision: Literal["auto"] | Precision = "float32",
    threads: int = 0,
) -> Backend:
    """Backend by the settings; sets the CPU threads of the library, 0 leaves its choice.

    The precision "auto" is bfloat16 on a CPU that has instructions for it, else float32.

    Raises
    ------
    ConfigError
        CUDA is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ConfigError("worker.device: 'cuda' is asked for, but no CUDA device is there")
    if threads > 0:
        torch.set_num_threads(threads)
    chosen = "cuda" if available and device != "cpu" else "cpu"
    if precision == "auto":
        precision = "bfloat16" if chosen == "cpu" and _rounds_in_hardware() else "float32"
    return Backend(chosen, precision)


def _rounds_in_hardware() -> bool:
    """Whether this CPU multiplies in bfloat16."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
