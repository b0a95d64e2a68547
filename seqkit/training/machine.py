"""The machine that a run is trained on: device, threads, reduced precision, and what a run records of it."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator

import seqkit
from seqkit.errors import ConfigError
from seqkit.settings import TrainingConfig


def build_accelerator(config: TrainingConfig) -> Accelerator:
    """The accelerator for the device asked for. Raises ConfigError where this machine has no such device."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "auto": True}
    if not there[config.device]:
        found = ", ".join(name for name, present in there.items() if present and name != "auto")
        raise ConfigError([f"training.device={config.device}: this machine has {found}."])
    on_gpu = config.device != "cpu" and (there["cuda"] or there["mps"])
    mixed = "bf16" if config.precision == "bf16" and on_gpu else "no"
    accelerator = Accelerator(mixed_precision=mixed, cpu=not on_gpu)
    if accelerator.num_processes > 1:
        raise ConfigError([f"{accelerator.num_processes} processes were started; training runs in one process so far."])
    return accelerator


# From glibc's malloc.h: trim threshold, top pad, mmap threshold. Bytes.
_MALLOPT = {-1: 2**31 - 1, -2: 2**26, -3: 2**30}

_mkldnn: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # made at import; stubs do not know it


@contextmanager
def compute_settings(config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Threads and the precision of CPU matrix products, for the time of the body.

    Raises ConfigError where bf16 is asked for and the CPU has no bfloat16 instructions: emulated, it would be slower.
    """
    threads, matmul = torch.get_num_threads(), _mkldnn.fp32_precision
    keep_freed_memory()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if config.precision == "bf16" and device.type == "cpu":
        if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
            raise ConfigError(["training.precision=bf16: this CPU has no bfloat16 instructions. Use float32."])
        _mkldnn.fp32_precision = "bf16"
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _mkldnn.fp32_precision = matmul


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep freed memory for the next step instead of giving it back to the system.

    A training step frees and asks again for the same large buffers; by default each time costs page faults, which on
    small models take up to half of the processor's time. Returns False where the C library has no such setting.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) == 1 for parameter, value in _MALLOPT.items())


def environment(accelerator: Accelerator) -> dict[str, Any]:
    """What a figure depends on besides the code: versions, device, threads."""
    device = accelerator.device
    return {
        "seqkit": seqkit.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def processor_name() -> str:
    """The processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 (a device file)
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except FileNotFoundError:  # not Linux
        names = []
    return names[0] if names else platform.processor()
