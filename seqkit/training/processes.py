"""Training in several processes: who they are, what they tell each other, and that they speak with one voice.

`torchrun` and `accelerate launch` start the same command several times and say in the environment which one is which.
Every process makes the same global batches and takes its share of each; loss, count and gradients are summed over all
of them, so the steps are those of one process with the same batches, within rounding. The first process alone
evaluates, writes and prints; what it finds, it tells the others. Without a launcher there is one process, which tells
nobody anything.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seqkit.errors import ConfigError, LostProcess, SeqkitError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from seqkit.recipe import Recipe

T = TypeVar("T")

_MEETING = timedelta(minutes=10)
"""How long processes wait for each other to start."""
_PATIENCE = timedelta(days=1)
"""How long they wait for each other later: the others wait while the first evaluates. One that dies is noticed at once,
since its connections close."""
_GRACE = timedelta(seconds=5)
"""How long a process that says nothing waits for the one that does, before it ends."""


@contextmanager
def _linked() -> Iterator[None]:
    """Turn a broken connection within the body into LostProcess."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LostProcess(
            f"Another process of this training ended unexpectedly ({reason}).",
            hint="What was trained up to the last checkpoint is kept.",
        ) from error


@dataclass(frozen=True)
class Processes:
    """The processes that train together; by default this one alone, for which every method is trivial."""

    rank: int = 0
    """The number of this one, from 0."""
    count: int = 1
    """How many there are."""
    launch: str | None = None
    """What tells this launch from every other, where the launcher restarts processes; the same after a restart."""
    store: Any = field(default=None, repr=False)
    """Keys and values that all processes of this attempt see, also one whose connections are broken."""

    @property
    def first(self) -> bool:
        """Whether this is the one that evaluates, writes and prints."""
        return self.rank == 0

    def share(self, batch: Sequence[int]) -> list[int]:
        """This process's part of a global batch, maybe empty. Row b goes to process b % count, in every batch.

        So of batches whose rows go on from one to the next, a row stays with the process that holds its state.
        """
        return list(batch[self.rank :: self.count])

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over the processes, in float64."""
        if self.count == 1:
            return list(numbers)
        import torch
        from torch import distributed

        total = torch.tensor(numbers, dtype=torch.float64)
        with _linked():
            distributed.all_reduce(total)
        return [float(number) for number in total]

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients of these parameters, the same ones everywhere; a missing gradient counts as zeros."""
        if self.count == 1:
            return
        import torch
        from torch import distributed

        alike: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
        for parameter in parameters:
            alike.setdefault((parameter.dtype, parameter.device), []).append(parameter)
        for group in alike.values():
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in group]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            with _linked():
                distributed.all_reduce(flat)
            for parameter, part in zip(group, torch.split(flat, [p.numel() for p in group]), strict=True):
                parameter.grad = part.view_as(parameter)

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite these tensors by those of the first process."""
        if self.count == 1:
            return
        from torch import distributed

        for tensor in tensors:
            whole = tensor.detach().contiguous()
            with _linked():
                distributed.broadcast(whole, src=0)
            tensor.detach().copy_(whole)

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes; the others wait for it."""
        if self.count == 1:
            return make()
        import torch
        from torch import distributed

        values = [make() if self.first else None]
        with _linked():
            distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        value: T = values[0]  # type: ignore[assignment]
        return value

    def gather(self, value: T) -> list[T]:
        """The values of all processes in the first; nothing elsewhere."""
        if self.count == 1:
            return [value]
        from torch import distributed

        values: list[Any] | None = [None] * self.count if self.first else None
        with _linked():
            distributed.gather_object(value, values, dst=0)
        return values or []

    def fails_first(self) -> bool:
        """Whether no other process has failed before this one."""
        if self.store is None:
            return self.first
        try:
            return bool(self.store.add("failures", 1) == 1)
        except RuntimeError:  # the store went with the first process
            return False

    def told(self, code: int) -> None:
        """Say to the others that the failure was told, and the exit code."""
        if self.store is not None:
            self.store.set("code", str(code))

    def wait_until_told(self, code: int) -> int:
        """The exit code of the process that failed first, once it told why; a launcher ends all when one has ended."""
        if self.store is None:
            time.sleep(_GRACE.total_seconds())
            return code
        try:
            self.store.wait(["code"], _GRACE)
            return int(self.store.get("code"))
        except RuntimeError:
            return code


_current = Processes()


def current() -> Processes:
    """The processes that train together with this one."""
    return _current


@contextmanager
def joined(tell: Callable[[SeqkitError], None], *, training: bool = True) -> Iterator[None]:
    """Meet the other processes of a launch for the time of the body; without a launcher, do nothing.

    Only the first process has a stdout and stderr. An error may be the same one in all of them, or one in one of them
    that the others then miss: whoever fails first tells it, and all end with its exit code. Where this is not a
    `training`, the processes do not meet, and the first one tells.
    """
    global _current
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        yield
        return
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    before, out, err = _current, sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (a device)
        if rank > 0:
            sys.stdout = sys.stderr = nowhere
        try:
            _current = _meet() if training else Processes(rank, count)
            yield
            _leave()
        except BaseException as error:
            code = _exit_code(error)
            if code == 0:
                _leave()
                raise
            if count == 1:
                raise
            # A wrong usage has been told by then: by the first process, for here it went nowhere.
            if not (rank == 0 if isinstance(error, SystemExit) else _current.fails_first()):
                raise SystemExit(_current.wait_until_told(code)) from None
            sys.stdout, sys.stderr = out, err
            if isinstance(error, SeqkitError):
                tell(error)
            elif not isinstance(error, SystemExit):
                traceback.print_exception(error)
            _current.told(code)
            raise SystemExit(code) from None
        finally:
            _current, sys.stdout, sys.stderr = before, out, err


def _meet() -> Processes:
    """Connect to the other processes, and to the launcher's store. Raises ConfigError where none is to be found."""
    from torch import distributed
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, count = next(iter(rendezvous("env://", timeout=_MEETING)))
        launch = None
        if "TORCHELASTIC_RUN_ID" in os.environ:
            launch = store.compare_set("seqkit/launch", "", uuid.uuid4().hex).decode()
        # A restarted attempt may find the keys of the one before it.
        own = PrefixStore(f"seqkit/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        if count > 1:
            distributed.init_process_group(store=own, rank=rank, world_size=count, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise ConfigError(
            [f"RANK={os.environ['RANK']}, WORLD_SIZE={os.environ['WORLD_SIZE']}: no other process met at {where}."],
            hint=f"Start all of them with torchrun, or unset WORLD_SIZE to train in one process. ({error})",
        ) from error
    return Processes(rank, count, launch, own)


def _leave() -> None:
    if _current.store is not None and _current.count > 1:
        from torch import distributed

        distributed.destroy_process_group()


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_code if isinstance(error, SeqkitError) else 1


def alone(what: str) -> None:
    """Raise ConfigError where several processes were started for what runs in one."""
    count = current().count
    if count > 1:
        raise ConfigError(
            [f"{what} runs in one process, and {count} were started: type it without torchrun or accelerate launch."]
        )


def restarted() -> bool:
    """Whether the launcher started these processes anew, after some of an earlier attempt had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def fit_once(recipe: Recipe[Any], fit: Callable[[], None]) -> None:
    """Fit a recipe's front-end in the first process; the others load what it found, as a resumed run does."""
    processes = current()
    if processes.count == 1:
        fit()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def files() -> dict[str, bytes]:
            fit()
            recipe.save_frontend(folder)
            return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

        found = processes.from_first(files)
        if not processes.first:
            for path, content in found.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
            recipe.load_frontend(folder)
