"""A language model: what a text is read with, and what says which token comes next.

Shapes: N real steps, B texts, V tokens of the vocabulary, E features of an embedding, L layers, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from seqkit.frontends.embedding import TokenEmbedding
from seqkit.heads.softmax import VocabularySoftmax
from seqkit.heads.windows import time_windows
from seqkit.lstm import StackedLSTM
from seqkit.lstm.dropout import locked_dropout
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences

READ_STEPS = 2048
"""Tokens of a long text that are read at once after training; the state is carried on, so this changes no result."""


class LanguageModel(nn.Module):
    """An embedding, a stack of LSTM layers and a softmax over the vocabulary: each token from those before it.

    Args:
        embedding: vectors (V, E) of the tokens.
        lstm: the backbone, forward in time.
        tied: the softmax has the embedding's weight (Press and Wolf 2017); where the widths differ, a linear layer
            stands between.
        cutoffs: of an adaptive softmax, see `VocabularySoftmax`.
        output_dropout: locked dropout on the last layer's output.
        learned_start: a text begins with a state that is learned, not with zeros.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        lstm: StackedLSTM,
        *,
        tied: bool = True,
        cutoffs: Sequence[int] = (),
        output_dropout: float = 0.0,
        learned_start: bool = False,
    ) -> None:
        super().__init__()
        vocab_size, size = embedding.weight.shape
        self.embedding, self.lstm, self.output_dropout = embedding, lstm, output_dropout
        between = tied and lstm.output_size != size
        self.projection = nn.Linear(lstm.output_size, size) if between else nn.Identity()
        weight = embedding.weight if tied else None
        self.softmax = VocabularySoftmax(vocab_size, size if tied else lstm.output_size, cutoffs, tied=weight)
        shape = (2, lstm.num_layers, 1, lstm.hidden_size)  # hidden and cell
        self.initial_state = nn.Parameter(torch.zeros(shape)) if learned_start else None

    def start(self, batch_size: int) -> LSTMState | None:
        """The state (L, B, H) that a text begins with; None is zeros."""
        if self.initial_state is None:
            return None
        hidden, cell = self.initial_state.expand(-1, -1, batch_size, -1).contiguous().unbind(0)
        return LSTMState(hidden, cell)

    def forward(self, read: Sequences, state: LSTMState | None = None) -> tuple[Sequences, Sequences, LSTMState]:
        """Read ids (N,) from a state; `start` if None.

        Returns the LSTM's output (N, H), the same after dropout, and the state after the last step.
        """
        output, final = self.lstm(self.embedding(read), self.start(read.batch_size) if state is None else state)
        return output, locked_dropout(output, self.output_dropout, self.training), final

    def windows(self, read: Sequences) -> Iterator[tuple[Sequences, slice, LSTMState]]:
        """Read ids (N,) window by window, the state carried: the output, the rows it is of, the state.

        Windows hold the batch's rows by falling length, see `time_windows`.
        """
        state = None
        for window, rows in time_windows(read, READ_STEPS):
            _, output, state = self(window, state)
            yield output, rows, state

    def nats(self, read: Sequences, targets: Tensor) -> Tensor:
        """-log p of each target (N,), without a graph and in bounded memory."""
        parts = [self.softmax.nats(self.projection(out.data), targets[rows]) for out, rows, _ in self.windows(read)]
        return torch.cat(parts)

    def begin(self, read: Sequences) -> tuple[Tensor, LSTMState]:
        """Read prompts, ids (N,): log-probabilities (B, V) of the token after each, and the state."""
        last: Tensor | None = None  # (B, H), the output of the last step of each row
        state: LSTMState | None = None
        for output, _, after in self.windows(read):
            state = after
            last = output.data.new_zeros(read.batch_size, output.data.shape[1]) if last is None else last
            rows = (output.lengths > 0).nonzero().squeeze(1)  # those that have not ended before
            starts = output.batch_sizes.cumsum(0) - output.batch_sizes
            steps = starts[output.lengths[rows] - 1] + rows
            last[rows.to(last.device)] = output.data[steps.to(last.device)]
        if last is None or state is None:
            raise ValueError("a prompt needs at least one token")
        back = read.unsorted_indices
        return self.softmax.log_probs(self.projection(last[back])), state.select(back)

    def advance(self, tokens: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Read one more token (R,) of each row: log-probabilities (R, V) of the one after it, and the state."""
        vectors = self.embedding(Sequences(tokens, [1] * len(tokens))).data  # (R, E)
        output, state = self.lstm.step(vectors, state)
        return self.softmax.log_probs(self.projection(output)), state


def change_square(output: Sequences) -> Tensor:
    """The sum over steps but the first of the mean square (over features) of the change from the step before."""
    first = int(output.batch_sizes[0]) if output.max_length else 0
    starts = output.batch_sizes.cumsum(0) - output.batch_sizes  # (T,)
    time = torch.repeat_interleave(output.batch_sizes)[first:]  # (N - B,)
    before = torch.arange(first, output.steps) - starts[time] + starts[time - 1]
    return (output.data[first:] - output.data[before.to(output.data.device)]).square().mean(1).sum()
