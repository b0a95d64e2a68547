"""Sequence to sequence: an encoder that reads the source, and a decoder that attends to it and writes the target.

The decoder's recurrence never waits for an attention's answer: contexts are looked up with the output of its lowest
layer and handed to the layers above (Wu et al. 2016; Chen et al. 2018), or with the output of its highest (Luong et al.
2015). So in training every layer reads the whole target at once, and nothing steps through time but the LSTM itself.

Shapes: N real target steps, B sources, R rows decoded side by side, E features of an embedding, H hidden, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from seqkit.frontends.embedding import TokenEmbedding
from seqkit.heads.attention import Attention, Memory, Scoring
from seqkit.heads.softmax import VocabularySoftmax
from seqkit.lstm import StackedLSTM
from seqkit.lstm.dropout import locked_dropout
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences

Attending = Literal["lowest", "highest"]


@dataclass(frozen=True)
class DecoderState:
    """Where the decoder stands in each of R rows.

    Attributes:
        lstm: (L, R, H).
        memory: the sources.
        owners: (R,) int64, the source in `memory` of each row.
    """

    lstm: LSTMState
    memory: Memory
    owners: Tensor

    def select(self, indices: Tensor) -> DecoderState:
        """The rows named by `indices` (R',) int64; sources that no row is of are let go when they are the most."""
        owners = self.owners.index_select(0, indices)
        memory = self.memory
        kept, renumbered = torch.unique(owners, return_inverse=True)
        if 2 * len(kept) <= memory.batch_size:
            memory, owners = memory.select(kept), renumbered
        return DecoderState(self.lstm.select(indices), memory, owners)


class Translator(nn.Module):
    """An LSTM encoder, an LSTM decoder with attention, and a softmax over the target's vocabulary.

    Args:
        source: vectors (V, E) of the source's tokens.
        target: vectors of the target's; may be the same module.
        encoder: the stack that reads the source.
        lowest: the decoder's lowest layer, forward, from E to H features.
        upper: its layers above, forward; from H + F to H features where attention is from the lowest, F being the
            encoder's output size, else from H to H. None for a decoder of one layer.
        attending: which layer's output attention asks with.
        attention_size: units of the attention.
        scoring: "multiplicative" or "additive", see `Attention`.
        tied: the softmax has the target embedding's weight (Press and Wolf 2017).
        dropout: locked dropout on the encoder's output and on what the softmax and the layer before it read.
        residual: the output of `lowest` is added to that of `upper`.
        start_id: the token that every target begins with.
    """

    def __init__(
        self,
        source: TokenEmbedding,
        target: TokenEmbedding,
        encoder: StackedLSTM,
        lowest: StackedLSTM,
        upper: StackedLSTM | None,
        *,
        attending: Attending = "lowest",
        attention_size: int,
        scoring: Scoring = "multiplicative",
        tied: bool = True,
        dropout: float = 0.0,
        residual: bool = False,
        start_id: int,
    ) -> None:
        super().__init__()
        self.source, self.target, self.encoder, self.lowest, self.upper = source, target, encoder, lowest, upper
        self.attending, self.dropout, self.residual, self.start_id = attending, dropout, residual, start_id
        vocab_size, size = target.weight.shape
        hidden, memory_size = lowest.output_size, encoder.output_size
        self.attention = Attention(hidden, memory_size, attention_size, scoring)
        decoder_layers = 1 + (upper.num_layers if upper is not None else 0)
        self.hidden_bridge = nn.Linear(memory_size, decoder_layers * hidden)
        self.cell_bridge = nn.Linear(memory_size, decoder_layers * hidden)
        self.readout = nn.Linear(hidden + memory_size, size)
        for linear in (self.hidden_bridge, self.cell_bridge, self.readout):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.softmax = VocabularySoftmax(vocab_size, size, tied=target.weight if tied else None)

    # The whole target at once ----------------------------------------------------------------------------------------

    def encode(self, source: Sequences) -> tuple[Memory, LSTMState]:
        """Read sources, ids (N,), each of one token at least: what to attend to, and the decoder's state (L, B, H)."""
        output, final = self.encoder(self.source(source))
        output = locked_dropout(output, self.dropout, self.training)
        directions = self.encoder.directions
        ends = final.layers((self.encoder.num_layers - 1) * directions, directions)  # the highest layer's
        return self.attention.remember(output), LSTMState(
            self._bridged(ends.hidden, self.hidden_bridge), self._bridged(ends.cell, self.cell_bridge)
        )

    def forward(self, source: Sequences, read: Sequences) -> tuple[Sequences, Tensor]:
        """Read sources and the targets up to each step, ids (N,).

        Returns features (N, E), from which the softmax tells the next token, and the attention's weights (B, T, S).
        """
        memory, state = self.encode(source)
        low, _ = self.lowest(self.target(read), state.layers(0, 1))  # (N, H)
        if self.attending == "lowest":
            contexts, weights = self.attention.ragged(low, memory)  # (N, F)
        high = low
        if self.upper is not None:
            below = low.replace(torch.cat([low.data, contexts.data], dim=1)) if self.attending == "lowest" else low
            high, _ = self.upper(below, state.layers(1, self.upper.num_layers))
            high = high.replace(high.data + low.data) if self.residual else high
        if self.attending == "highest":
            contexts, weights = self.attention.ragged(high, memory)
        joined = high.replace(torch.cat([high.data, contexts.data], dim=1))
        features = locked_dropout(joined, self.dropout, self.training).map(self._read_out)
        return locked_dropout(features, self.dropout, self.training), weights

    def nats_sum(self, source: Sequences, read: Sequences, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """The sum of -log p(target) over real target steps, targets (N,): a scalar with a graph."""
        features, _ = self(source, read)
        return self.softmax.nats_sum(features.data, targets, smoothing)

    # Token by token --------------------------------------------------------------------------------------------------

    def begin(self, read: Sequences) -> tuple[Tensor, DecoderState]:
        """Read sources, ids (N,): log-probabilities (B, V) of each target's first token, and the state."""
        memory, lstm = self.encode(read)
        owners = torch.arange(read.batch_size, device=read.data.device)
        return self.advance(torch.full_like(owners, self.start_id), DecoderState(lstm, memory, owners))

    def advance(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Write one more token (R,) of each row: log-probabilities (R, V) of the one after it, and the state."""
        vectors = self.target(Sequences(tokens, [1] * len(tokens))).data  # (R, E)
        low, lowest = self.lowest.step(vectors, state.lstm.layers(0, 1))
        states = [lowest]
        if self.attending == "lowest":
            contexts, _ = self.attention.rows(low, state.memory, state.owners)  # (R, F)
        high = low
        if self.upper is not None:
            below = torch.cat([low, contexts], dim=1) if self.attending == "lowest" else low
            high, above = self.upper.step(below, state.lstm.layers(1, self.upper.num_layers))
            high = high + low if self.residual else high
            states.append(above)
        if self.attending == "highest":
            contexts, _ = self.attention.rows(high, state.memory, state.owners)
        features = self._read_out(torch.cat([high, contexts], dim=1))
        return self.softmax.log_probs(features), DecoderState(LSTMState.stack(states), state.memory, state.owners)

    def _bridged(self, ends: Tensor, bridge: nn.Linear) -> Tensor:
        """The encoder's last state (D, B, H') as the decoder's first (L, B, H)."""
        flat = torch.tanh(bridge(ends.transpose(0, 1).flatten(1)))  # (B, L * H)
        return flat.view(len(flat), -1, self.lowest.hidden_size).transpose(0, 1).contiguous()

    def _read_out(self, joined: Tensor) -> Tensor:
        """(N, H + F) -> (N, E)."""
        return torch.tanh(self.readout(joined))
