"""LSTM against vanilla RNN on the adding problem: the vanishing gradient as a picture and a table.

    python tools/compare_cells.py                          lags 50, 100, 200 and 400, both cells
    python tools/compare_cells.py --lags 50 --steps 300    a quick look

The adding problem (Hochreiter and Schmidhuber 1997, experiment 4): each step of a sequence holds a number drawn from
[-1, 1] and a marker. Two steps are marked, one among the first ten, one in the first half; at the end the sum of the
two marked numbers is asked for. Answering 0 every time has a mean squared error of 2/3, which is what a network that
cannot remember ends at. Data are drawn anew for every batch; the error shown is on 500 sequences of their own.

For each lag, one panel shows the error during training, and one the norm of the gradient of the error with respect to
the state (h_t, and C_t where there is one) at each step: what reaches back to the marked steps, before training and,
dashed, after it.

Weights start as torch.nn.LSTM's do (`--init uniform`): a vanilla RNN's gradient then vanishes within some twenty steps.
With `--init glorot` it does not, before training, and the RNN still does not learn long lags.

The LSTM's gates start out remembering for about as long as the lag: forget biases are log(u), u uniform in [1, T - 1],
and input biases their negatives (chrono initialisation, Tallec and Ollivier 2018). `--forget-bias 3` starts all forget
biases at one number instead; at lag 100 the LSTM has then learnt nothing after 2000 steps, against 250 to a solution.

Shapes: B sequences, T = lag steps, H hidden.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from seqkit.lstm import LSTMState, StackedLSTM
from seqkit.lstm.init import NAMES
from seqkit.sequences import Sequences

COLOURS = {"lstm": "#1f77b4", "rnn": "#d62728"}
CONSTANT = 2 / 3  # mean squared error of answering 0 every time: twice the variance of a number
HELD_OUT = 500


@dataclass
class Result:
    """What one cell did at one lag."""

    cell: str
    lag: int
    errors: list[tuple[int, float]] = field(default_factory=list)  # (training step, mean squared error)
    gradient: list[float] = field(default_factory=list)  # before training: norm at each of the T steps, first one first
    gradient_after: list[float] = field(default_factory=list)  # after it
    seconds: float = 0.0


class Adder(nn.Module):
    """A recurrent layer, and a line from its last output to the answer."""

    def __init__(self, cell: str, hidden: int, init: str, forget_bias: float | None, lag: int) -> None:
        super().__init__()
        self.reader = StackedLSTM(2, hidden, cell=cell, init=init, forget_bias=forget_bias)
        self.answer = nn.Linear(hidden, 1)
        if cell == "lstm" and forget_bias is None:
            remember = torch.empty(hidden).uniform_(1, lag - 1).log()  # (H,)
            for name, bias in self.reader.layers[0].named_parameters():
                if name.startswith("bias"):  # rows: input gate, forget gate, candidate, output gate
                    bias.data[: 2 * hidden] = torch.cat([-remember, remember]) if name == "bias_ih_l0" else 0.0

    def forward(self, x: Sequences) -> Tensor:
        """(B,) answers."""
        _, state = self.reader(x)
        return self.answer(state.hidden[0]).squeeze(1)  # type: ignore[no-any-return]


def adding_problem(count: int, lag: int, generator: torch.Generator) -> tuple[Sequences, Tensor]:
    """`count` sequences of `lag` steps of 2 features, and the sums (count,)."""
    numbers = torch.rand(count, lag, generator=generator) * 2 - 1
    first = torch.randint(0, min(10, lag // 2), (count,), generator=generator)
    second = torch.randint(0, lag // 2 - 1, (count,), generator=generator)
    second += second >= first  # never the same step twice
    rows = torch.arange(count)
    markers = torch.zeros(count, lag)
    markers[rows, first] = 1.0
    markers[rows, second] = 1.0
    x = Sequences.from_padded(torch.stack([numbers, markers], 2), torch.full((count,), lag))
    return x, (numbers * markers).sum(1)


def gradient_norms(model: Adder, x: Sequences, target: Tensor) -> list[float]:
    """Norm, over the batch and the state, of the gradient that reaches each of the T steps."""
    states: list[LSTMState] = []
    state = None
    for x_t in x.padded().unbind(1):  # (B, 2)
        _, state = model.reader(Sequences(x_t, [1] * x.batch_size), state)
        states.append(state)
    loss = (model.answer(states[-1].hidden[0]).squeeze(1) - target).square().mean()
    total = torch.zeros(len(states))  # (T,) squared norms
    for parts in ([s.hidden for s in states], [s.cell for s in states]):
        if parts[0].requires_grad:  # the cell of a vanilla RNN is constant
            grads = torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True, materialize_grads=True)
            total += torch.stack([grad.square().sum() for grad in grads])
    norms: list[float] = total.sqrt().tolist()
    return norms


def train(cell: str, lag: int, options: argparse.Namespace) -> Result:
    """Train one cell at one lag."""
    torch.manual_seed(options.seed)
    data = torch.Generator().manual_seed(options.seed + 1)
    held_out, wanted = adding_problem(HELD_OUT, lag, torch.Generator().manual_seed(options.seed + 2))
    model = Adder(cell, options.hidden, options.init, options.forget_bias, lag)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    probe = adding_problem(options.batch, lag, data)
    result = Result(cell, lag, gradient=gradient_norms(model, *probe))
    start = time.perf_counter()
    for step in range(options.steps + 1):
        if step % options.every == 0 or step == options.steps:
            with torch.no_grad():
                result.errors.append((step, (model(held_out) - wanted).square().mean().item()))
        if step == options.steps or result.errors[-1][1] < options.enough:
            break
        x, target = adding_problem(options.batch, lag, data)
        optimizer.zero_grad()
        (model(x) - target).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimizer.step()
    result.seconds = time.perf_counter() - start
    result.gradient_after = gradient_norms(model, *probe)
    return result


def solved_at(result: Result) -> str:
    """The training step at which the error first fell below a tenth of the constant answer's, or a dash."""
    return next((str(step) for step, error in result.errors if error < CONSTANT / 10), "-")


def table(results: list[Result]) -> str:
    """The figures as text."""
    lines = [
        f"{'lag':>5} {'cell':5} {'final error':>12} {'solved at':>10} {'gradient, first / last step':>28} {'time':>8}"
    ]
    for r in results:
        ratio = r.gradient[0] / r.gradient[-1]
        lines.append(
            f"{r.lag:5} {r.cell:5} {r.errors[-1][1]:12.5f} {solved_at(r):>10} {ratio:28.2e} {r.seconds:6.0f} s"
        )
    lines.append(f"answering 0 every time: {CONSTANT:.5f}; 'solved' is an error below a tenth of that")
    return "\n".join(lines)


def draw(results: list[Result], path: Path) -> None:
    """Two panels for each lag: error during training, gradient at each step."""
    lags = sorted({r.lag for r in results})
    figure, axes = plt.subplots(2, len(lags), figsize=(3.6 * len(lags), 6.4), squeeze=False, layout="constrained")
    for column, lag in enumerate(lags):
        above, below = axes[0][column], axes[1][column]
        for r in (r for r in results if r.lag == lag):
            name = r.cell.upper()
            above.plot(*zip(*r.errors, strict=True), color=COLOURS[r.cell], label=name)
            for gradient, style, when in ((r.gradient, "-", ""), (r.gradient_after, "--", ", trained")):
                reaching = [norm if norm > 0 else float("nan") for norm in gradient]  # 0 has no logarithm
                below.plot(range(1, lag + 1), reaching, style, color=COLOURS[r.cell], label=name + when)
        above.axhline(CONSTANT, color="grey", linestyle=":", label="always 0")
        above.set(title=f"lag {lag}", xlabel="training step", ylabel="mean squared error", yscale="log")
        below.axvspan(1, lag / 2, color="grey", alpha=0.12, label="marked steps")
        below.set(xlabel="time step t", ylabel="norm of the gradient at the state", yscale="log")
    axes[0][0].legend()
    axes[1][0].legend()
    figure.suptitle("Adding problem: what is learnt, and the gradient that reaches back")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lags", type=int, nargs="+", default=[50, 100, 200, 400], help="lengths T, each at least 6")
    parser.add_argument("--cells", nargs="+", choices=list(COLOURS), default=list(COLOURS))
    parser.add_argument("--steps", type=int, default=1000, help="training steps at most (default 1000)")
    parser.add_argument("--every", type=int, default=50, help="steps between two looks at the error (default 50)")
    parser.add_argument("--enough", type=float, default=5e-3, help="stop below this error (default 0.005)")
    parser.add_argument("--batch", type=int, default=32, help="sequences in a batch (default 32)")
    parser.add_argument("--hidden", type=int, default=32, help="units H (default 32)")
    parser.add_argument("--learning-rate", type=float, default=5e-3, help="of Adam (default 0.005)")
    parser.add_argument("--clip", type=float, default=1.0, help="greatest gradient norm (default 1)")
    parser.add_argument("--init", choices=NAMES, default="uniform", help="initial weights of both (default uniform)")
    parser.add_argument("--forget-bias", type=float, help="one number for all units (default: by the lag)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("compare_cells.png"), help="the picture (compare_cells.png)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write options and curves to FILE")
    options = parser.parse_args()
    if min(options.lags) < 6:
        parser.error("a lag must be at least 6: two steps of the first half are marked")
    results = []
    for lag in options.lags:
        for cell in options.cells:
            results.append(train(cell, lag, options))
            last = results[-1]
            print(f"lag {lag}, {cell}: error {last.errors[-1][1]:.5f} after {last.errors[-1][0]} steps", flush=True)
    print(table(results))
    draw(results, options.out)
    print(f"drawn: {options.out}")
    if options.json is not None:
        report = {"options": vars(options), "results": [asdict(r) for r in results]}
        options.json.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
