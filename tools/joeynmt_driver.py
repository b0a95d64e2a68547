"""JoeyNMT's side of `benchmark_translation.py`; runs under the Python that has JoeyNMT 2.3, not under seqkit's.

    python joeynmt_driver.py fit CONFIG      JoeyNMT's own training command
    python joeynmt_driver.py train CONFIG    rounds of training steps, as they are asked for
    python joeynmt_driver.py decode CONFIG   the test set by beam search, as often as it is asked for

CONFIG is a configuration file of JoeyNMT. Everything that computes is JoeyNMT's: its batches, model, loss, clipping,
optimizer and search. The loop of `train` is that of its `TrainManager.train_and_validate` without what is not timed on
either side: log, validation, checkpoints.

One thing is mended. JoeyNMT passes `verbose` to torch's ReduceLROnPlateau, which newer versions of torch do not take:
here it is dropped. Nothing of the installed package is changed.
"""

from __future__ import annotations

import inspect
import json
import sys
import time
from pathlib import Path
from typing import Any

if not __package__:  # started as a file: its folder is on the path, the repository is not
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import joeynmt.builders as builders  # type: ignore[import-not-found]
import torch
from joeynmt.config import load_config, parse_global_args  # type: ignore[import-not-found]
from joeynmt.helpers import set_seed  # type: ignore[import-not-found]
from joeynmt.prediction import predict, prepare  # type: ignore[import-not-found]
from joeynmt.training import TrainManager  # type: ignore[import-not-found]

from tools.translation_protocol import Channel, TrainingRound, keep_freed_memory


def mend() -> None:
    """Let JoeyNMT build its plateau schedule with a torch that knows no `verbose`."""
    plateau = builders.ReduceLROnPlateau
    if "verbose" in inspect.signature(plateau).parameters:
        return

    def without_verbose(*arguments: Any, verbose: bool = False, **named: Any) -> Any:
        return plateau(*arguments, **named)

    builders.ReduceLROnPlateau = without_verbose


def described(model: Any, malloc: bool, **more: Any) -> dict[str, Any]:
    """What was loaded, as the first message."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "malloc": "keep" if malloc else "default",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary": len(model.trg_vocab),
        **more,
    }


def train(path: str, channel: Channel, malloc: bool) -> None:
    """Training steps for as long as is asked for, from one epoch to the next."""
    args = parse_global_args(load_config(path), rank=0, mode="train")
    set_seed(args.seed)
    args.model_dir.mkdir()
    model, data, _, _ = prepare(args, rank=0, mode="train")
    trainer = TrainManager(
        rank=0,
        model=model,
        model_dir=args.model_dir,
        device=args.device,
        n_gpu=args.n_gpu,
        num_workers=args.num_workers,
        autocast=args.autocast,
        seed=args.seed,
        train_args=args.train,
        dev_args=args.test,
    )
    batches = data.make_iter(
        batch_size=args.train.batch_size,
        batch_type=args.train.batch_type,
        seed=args.seed,
        shuffle=args.train.shuffle,
        num_workers=args.num_workers,
        device=args.device,
        eos_index=model.eos_index,
        pad_index=model.pad_index,
    )
    # What an epoch holds by JoeyNMT's own count: source and target tokens, the signs of an end included.
    counted = [(int(batch.src_length.sum()), batch.ntokens, batch.nseqs) for batch in batches]
    source, target, sentences = map(sum, zip(*counted))  # noqa: B905 (an older Python has no strict)
    channel.send(described(model, malloc, source_tokens=source, target_tokens=target, sentences=sentences))

    request = channel.receive()
    epoch = 0
    timed = TrainingRound(**request) if request is not None else None
    while timed is not None:
        epoch += 1
        batches.batch_sampler.set_seed(args.seed + epoch)
        model.train()
        model.zero_grad()
        for batch in batches:
            loss, _ = trainer._train_step(batch)  # forward and backward; the loss is a mean over tokens
            trainer.clip_grad_fun(parameters=model.parameters())
            trainer.optimizer.step()
            model.zero_grad()
            answer = timed.step(batch.ntokens, loss * batch.ntokens)
            if answer is not None:
                channel.send(answer)
                request = channel.receive()
                timed = TrainingRound(**request) if request is not None else None
                if timed is None:
                    break


def decode(path: str, channel: Channel, malloc: bool) -> None:
    """The test set, as JoeyNMT's `test` command translates it; hypotheses go to a file as their pieces."""
    args = parse_global_args(load_config(path), rank=0, mode="test")
    model, _, _, data = prepare(args, rank=0, mode="test")
    channel.send(described(model, malloc, sentences=len(data)))
    while True:
        request = channel.receive()
        if request is None:
            return
        start = time.perf_counter()
        _, _, _, pieces, _, _ = predict(
            model=model,
            data=data,
            device=args.device,
            n_gpu=args.n_gpu,
            compute_loss=False,
            normalization=args.train.normalization,
            num_workers=args.num_workers,
            args=args.test,
            autocast=args.autocast,
        )
        seconds = time.perf_counter() - start
        ended = [row[:-1] if row[-1:] == [data.tokenizer[data.trg_lang].eos_token] else row for row in pieces]
        Path(request["output"]).write_text(json.dumps(ended), encoding="utf-8")
        channel.send({"seconds": seconds, "sentences": len(ended)})


def fit(path: str) -> None:
    """`python -m joeynmt train PATH --skip-test`."""
    from joeynmt.__main__ import main  # type: ignore[import-not-found]

    sys.argv = ["joeynmt", "train", path, "--skip-test"]
    main()


if __name__ == "__main__":
    mode, file, threads, memory = sys.argv[1:]
    torch.set_num_threads(int(threads))
    mend()
    if mode == "fit":
        fit(file)
    else:
        line = Channel()
        kept = memory == "keep" and keep_freed_memory()
        {"train": train, "decode": decode}[mode](file, line, kept)
