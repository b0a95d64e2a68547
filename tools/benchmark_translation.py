"""How fast seqkit trains a translator and translates with it: against JoeyNMT 2.3 on the same machine, in one run.

    python tools/benchmark_translation.py --joeynmt joeynmt/bin/python --data multi30k/raw --json rates.json
    python tools/benchmark_translation.py ... --embedding 512         networks of equal size, see below
    python tools/benchmark_translation.py ... --train-joeynmt JOEY --epochs 10 --dropout 0.3
    python tools/benchmark_translation.py ... --decode-seqkit RUN --decode-joeynmt JOEY [JOEY ...]

JoeyNMT needs a Python of its own, with the torch that seqkit has:

    python -m venv joeynmt
    joeynmt/bin/pip install torch==VERSION tensorboard numpy pandas pyyaml tqdm packaging matplotlib
    joeynmt/bin/pip install sentencepiece subword-nmt sacremoses sacrebleu importlib_metadata
    joeynmt/bin/pip install --no-deps joeynmt==2.3.0

(--no-deps, since it asks for a protobuf that today's packages are too new for. One argument that newer versions of
torch no longer take is dropped as it runs, see joeynmt_driver.py; nothing has to be edited.) The folder of --data holds
train.LANG.gz, val.LANG.gz and test_2016_flickr.LANG.gz, as Multi30k has them.

Training: every side is a process that has loaded everything and waits; in each round all train in turn for --seconds,
after --warm-up seconds that are not counted. Counted are target tokens: pieces and the sign of an end, without padding,
by each side's own count; that both find the same number in an epoch is checked. A step is all that happens between two
batches: data, forward, backward, clipping, Adam; validation, checkpoints and logs are left out. Batches hold 64
sentences. seqkit fills them with sentences of like length, JoeyNMT draws them freely: each as it trains. Both compute
in float32, with malloc set to keep freed memory, as `seqkit train` does (--joeynmt-malloc default leaves JoeyNMT's as
it is), and without dropout.

JoeyNMT is measured with and without input feeding, which hands the last attention's answer to the next step; seqkit's
decoder has none. The ratio is to the faster of the two. The networks are alike but for this: JoeyNMT's softmax reads as
many features as the decoder has units, seqkit's as many as an embedding has; and seqkit projects the query of Luong's
attention too. The table says how many multiply-adds (MMAC: millions) that makes for a target token, without padding.
With --embedding 512 both softmaxes read 512 features, and both are tied to the embeddings, which JoeyNMT cannot do at
256: of the two comparisons that is the one of equal networks.

Decoding: trained models of both, given the same test sentences, 64 at a time with a beam of 5 and the length penalty
((5 + length) / 6) ** 1; model loading is left out. JoeyNMT gets its sentences cut into pieces, seqkit cuts them itself.
A translation ends at 1.5 times the longest source of a batch in JoeyNMT, at twice its own source and 10 more in seqkit;
the mean length and BLEU of what both wrote stand beside. For a run of the same sizes, --train-joeynmt says how to
train it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # started as a file: its folder is on the path, the repository is not
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from seqkit.errors import RunError, SeqkitError
from seqkit.storage import write_json
from tools import translation_report as report
from tools.benchmark_lstm import at_least, check_file, parse_seconds
from tools.benchmark_report import tell
from tools.translation_jobs import check_joeynmt, decode, fit_joeynmt, train
from tools.translation_setup import Sizes
from tools.translation_workers import SPIN

BUSY = 0.5  # load average from which on something else takes a good part of a core


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--joeynmt", type=Path, required=True, metavar="PYTHON", help="the Python that has JoeyNMT 2.3")
    add("--data", type=Path, required=True, metavar="FOLDER", help="with train.LANG.gz and the others")
    add("--source", default="en", metavar="LANG", help="language to translate from [en]")
    add("--target", default="de", metavar="LANG", help="language to translate to [de]")
    add("--threads", type=at_least(1), default=os.cpu_count() or 1, metavar="N", help="of each side [all cores]")
    add("--seconds", type=parse_seconds, default=60.0, metavar="S", help="of training, a round and side [60]")
    add("--warm-up", type=parse_seconds, default=10.0, metavar="S", help="of training before that [10]")
    add("--rounds", type=at_least(1), default=3, metavar="N", help="of training, and of decoding [3]")
    add("--embedding", type=at_least(1), default=256, metavar="N", help="size of the embeddings [256]")
    add("--vocabulary", type=at_least(8), default=8000, metavar="N", help="pieces and signs [8000]")
    add("--attention", choices=("luong", "bahdanau"), default="luong", help="[luong]")
    add("--dropout", type=parse_share, default=0.0, metavar="P", help="of both sides' training [0]")
    add("--joeynmt-malloc", choices=("keep", "default"), default="keep", help="JoeyNMT's freed memory [keep]")
    add("--decode-seqkit", type=Path, metavar="RUN", help="time decoding: a run of the recipe translation")
    add("--decode-joeynmt", type=Path, nargs="+", metavar="DIR", help="and models that --train-joeynmt made")
    add("--beam", type=at_least(1), default=5, metavar="N", help="hypotheses [5]")
    add("--train-joeynmt", type=Path, metavar="DIR", help="only train a model of JoeyNMT, with its own command")
    add("--epochs", type=at_least(1), metavar="N", help="of --train-joeynmt")
    add("--input-feeding", action="store_true", help="train that model with it")
    add("--json", type=Path, metavar="FILE", help="write every round, the machine and the settings to FILE")
    add("--force", action="store_true", help="overwrite it")
    options = parser.parse_args(arguments)
    if (options.decode_seqkit is None) != (options.decode_joeynmt is None):
        parser.error("--decode-seqkit RUN and --decode-joeynmt DIR go together: what is timed is one against the other")
    if (options.train_joeynmt is None) != (options.epochs is None):
        parser.error("--train-joeynmt DIR and --epochs N go together")
    if options.train_joeynmt is not None and (options.decode_seqkit is not None or options.json is not None):
        parser.error("--train-joeynmt only trains; time what it made in a run of its own")
    if options.input_feeding and options.train_joeynmt is None:
        parser.error("--input-feeding is for --train-joeynmt; training is timed with and without it")
    if options.seconds == 0:
        parser.error("--seconds must be more than 0")
    if options.source == options.target:
        parser.error(f"--source and --target are both {options.source}")
    return options


def parse_share(text: str) -> float:
    """A number from 0 to below 1. Raises ArgumentTypeError for anything else."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to below 1; it is '{text}'")
    return share


def check(options: argparse.Namespace) -> None:
    """Raise SeqkitError for what can be known to fail before anything is loaded."""
    if not options.data.is_dir():
        raise SeqkitError(f"--data {options.data}: no such folder.", hint="Name the one that has train.LANG.gz.")
    for part in ("train", "val", "test_2016_flickr"):
        for language in (options.source, options.target):
            if not (file := options.data / f"{part}.{language}.gz").is_file():
                raise SeqkitError(f"--data {options.data}: {file.name} is not in it.")
    if options.json is not None:
        check_file("--json", options.json, options.force)
    if options.train_joeynmt is not None and options.train_joeynmt.exists():
        raise SeqkitError(f"--train-joeynmt {options.train_joeynmt}: exists already.", hint="Name another folder.")
    check_joeynmt(options.joeynmt)


def settings(options: argparse.Namespace, sizes: Sizes) -> dict[str, Any]:
    """The machine and what was asked for."""
    from seqkit.training.machine import processor_name

    load = os.getloadavg()[0]
    if load > BUSY:
        tell(f"the load average is {load:.2f}: other programs are at work, and these figures will not be worth much")
    return {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "load": load,
        "malloc": "keep" if options.joeynmt_malloc == "keep" else "keep (seqkit), default (JoeyNMT)",
        "spin": SPIN,
        "sizes": vars(sizes),
        "source": options.source,
        "target": options.target,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "warm_up": options.warm_up,
        "beam": options.beam,
    }


def run(options: argparse.Namespace) -> None:
    """Measure and report. Raises SeqkitError for a user's mistake."""
    check(options)
    sizes = Sizes(
        embedding=options.embedding,
        attention=options.attention,
        vocabulary=options.vocabulary,
        dropout=options.dropout,
    )
    if options.train_joeynmt is not None:
        fit_joeynmt(options, sizes)
        return
    asked = settings(options, sizes)
    training: Mapping[str, report.Training] = {}
    decoding: Mapping[str, report.Decoding] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-translation-") as folder:
        if options.decode_seqkit is None:
            training = train(options, sizes, Path(folder))
        else:
            decoding = decode(options, sizes, Path(folder))
    print(f"{report.headline(asked)}.")
    if training:
        told = report.versions({name: side.told for name, side in training.items()})
        print(f"{sizes}; {told}.\nTarget tokens a second, medians of {options.rounds} rounds of {options.seconds:g} s.")
        print(f"\n{report.training_table(training)}\n\nTraining: {report.training_ratio(training)}")
    if decoding:
        print(f"Beam {options.beam}, {sizes.batch} sentences a batch, best of {options.rounds} rounds.")
        print(f"\n{report.decoding_table(decoding)}\n\nDecoding: {report.decoding_ratio(decoding)}")
        if (warning := report.unlike(decoding)) is not None:
            print(warning)
    sys.stdout.flush()
    if options.json is not None:
        try:
            write_json(options.json, report.as_json(asked, training, decoding))
        except RunError as error:
            raise SeqkitError(error.message, hint="What was measured stands in the table above.") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 a mistake in what was given, 130 interrupted."""
    options = parse(arguments)
    try:
        run(options)
    except SeqkitError as error:
        tell(f"benchmark_translation: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        tell("benchmark_translation: interrupted; no file was written.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
