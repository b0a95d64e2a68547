"""The machine that a run is trained on: device, precision, threads, memory, and what a run records of it."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

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
    # accelerate keeps one state for a process and refuses another precision; a process may train several runs.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(mixed_precision="bf16" if config.precision == "bf16" else "no", cpu=not on_gpu)
    if accelerator.num_processes > 1:
        raise ConfigError([f"{accelerator.num_processes} processes were started; training runs in one process so far."])
    return accelerator


# From glibc's malloc.h: trim threshold, top pad, mmap threshold. Bytes.
_MALLOPT = {-1: 2**31 - 1, -2: 2**26, -3: 2**30}


@contextmanager
def compute_settings(config: TrainingConfig) -> Iterator[None]:
    """Threads and memory as training wants them, for the time of the body."""
    keep_freed_memory()
    threads = torch.get_num_threads()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep freed memory for the next step instead of giving it back to the system.

    A training step frees and asks again for the same large buffers; by default each time costs page faults, which on
    small models take a good part of the processor's time. Returns False where the C library has no such setting.
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
