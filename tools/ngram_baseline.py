"""What counting gets on the split of a language-model run: an n-gram model over the same tokens.

    python tools/ngram_baseline.py runs/language-ptb --order 5 --split test

The model is interpolated with absolute discounting (Ney et al. 1994): P_n(w | h) = max(c(h w) - D, 0) / c(h)
+ D t(h) / c(h) P_(n-1)(w | h'), where t(h) is the number of different tokens after h, and h' is h without its first
token; below the unigrams stands the uniform distribution. It is counted on the training part of the run's data.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqkit.errors import SeqkitError
from seqkit.runs.folder import Run
from seqkit.runs.load import load_recipe

Counts = list[dict[tuple[int, ...], Counter[int]]]
"""Context -> how often each token follows it, for each length of the context."""


def count(tokens: Sequence[int], order: int) -> Counts:
    """How often each token follows each context; the n-th entry holds the contexts of n tokens."""
    counts: Counts = [defaultdict(Counter) for _ in range(order)]
    for size, table in enumerate(counts):
        for place in range(size, len(tokens)):
            table[tuple(tokens[place - size : place])][tokens[place]] += 1
    return counts


def nats(tokens: Sequence[int], counts: Counts, vocab_size: int, discount: float) -> float:
    """The mean of -log P over all tokens but the first, which stands for what is before them."""
    total = 0.0
    sums = [{context: (seen.total(), len(seen)) for context, seen in table.items()} for table in counts]
    for place in range(1, len(tokens)):
        probability = 1.0 / vocab_size
        for size in range(min(len(counts), place + 1)):
            context = tuple(tokens[place - size : place])
            if context not in sums[size]:
                break  # a longer one was not seen either
            seen, kinds = sums[size][context]
            own = counts[size][context][tokens[place]]
            probability = (max(own - discount, 0.0) + discount * kinds * probability) / seen
        total -= math.log(probability)
    return total / (len(tokens) - 1)


def main() -> None:
    """Count, score, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run of the recipe language")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--discount", type=float, default=0.75)
    parser.add_argument("--split", default="validation")
    arguments = parser.parse_args()
    try:
        recipe: Any = load_recipe(Run.open(Path(arguments.run)))
        splits = recipe.load_data()
    except SeqkitError as error:
        print(f"ngram_baseline: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if arguments.split not in splits:
        parser.error(f"this run's data has no split '{arguments.split}'; there are {', '.join(splits)}.")
    train, text = (
        [int(token) for token in recipe.items(splits[name]).values[0]["ids"]] for name in ("train", arguments.split)
    )
    loss = nats(text, count(train, arguments.order), recipe.frontend.vocab_size, arguments.discount)
    found = {"split": arguments.split, "order": arguments.order, "perplexity": math.exp(loss), "loss": loss}
    print(json.dumps({"run": arguments.run, **found, "tokens": len(text) - 1}))


if __name__ == "__main__":
    main()
