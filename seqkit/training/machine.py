"""The machine that a run is trained on: device, precision, threads, memory, and what a run records of it."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

import seqkit
from seqkit.errors import ConfigError
from seqkit.settings import TrainingConfig
from seqkit.training.processes import current


def build_accelerator(config: TrainingConfig) -> Accelerator:
    """The accelerator for the device asked for. Raises ConfigError where this machine has no such device."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "auto": True}
    if not there[config.device]:
        found = ", ".join(name for name, present in there.items() if present and name != "auto")
        raise ConfigError([f"training.device={config.device}: this machine has {found}."])
    on_gpu = config.device != "cpu" and (there["cuda"] or there["mps"])
    processes, local = current(), processes_here()
    if processes.count > 1 and on_gpu and local > torch.cuda.device_count():
        raise ConfigError(
            [
                f"{local} processes were started on this machine, which has {torch.cuda.device_count()} CUDA devices: "
                "start one for each, or train on the processor with training.device=cpu."
            ]
        )
    # accelerate keeps one state for a process and refuses another precision; a process may train several runs.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(mixed_precision="bf16" if config.precision == "bf16" else "no", cpu=not on_gpu)
    if accelerator.num_processes != processes.count:
        raise ConfigError(
            [f"{accelerator.num_processes} processes were started in a way that seqkit does not know."],
            hint="Start them with torchrun or accelerate launch.",
        )
    return accelerator


def processes_here() -> int:
    """How many of the processes that train together run on this machine."""
    count = current().count
    return int(os.environ.get("LOCAL_WORLD_SIZE", count)) if count > 1 else 1


def training_threads(config: TrainingConfig) -> int:
    """CPU threads of this process while it trains."""
    if config.threads is not None:
        return config.threads
    if current().count > 1 and "OMP_NUM_THREADS" not in os.environ:
        return max(1, (os.cpu_count() or 1) // processes_here())
    return torch.get_num_threads()


# From glibc's malloc.h: trim threshold, top pad, mmap threshold. Bytes.
_MALLOPT = {-1: 2**31 - 1, -2: 2**26, -3: 2**30}


@contextmanager
def compute_settings(config: TrainingConfig) -> Iterator[None]:
    """Threads and memory as training wants them, for the time of the body."""
    keep_freed_memory()
    threads = torch.get_num_threads()
    if training_threads(config) != threads:
        torch.set_num_threads(training_threads(config))
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


def environment(accelerator: Accelerator, config: TrainingConfig) -> dict[str, Any]:
    """What a figure depends on besides the code: versions, device, and the threads that training will use."""
    device = accelerator.device
    return {
        "seqkit": seqkit.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "threads": training_threads(config),
        "processes": current().count,
    }


# What decides the last bits of a sum, by its key in `environment`, and how it is called.
_DECIDES_BITS = {
    "torch": "torch",
    "device": "device",
    "cpu": "processor",
    "threads": "threads",
    "processes": "processes (each draws its own dropout)",
}


def other_bits(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Differences between two environments that may change the last bits of a result, in words."""
    return [
        f"{name} {then[key]} then, {now[key]} now"
        for key, name in _DECIDES_BITS.items()
        if key in then and then[key] != now[key]
    ]


def processor_name() -> str:
    """The processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 (a device file)
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except FileNotFoundError:  # not Linux
        names = []
    return names[0] if names else platform.processor()
