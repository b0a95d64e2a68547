"""Sequence to sequence: an encoder that reads the source, and a decoder that attends to it and writes the target.

The decoder's recurrence never waits for an attention's answer: contexts are looked up with the output of its lowest
layer and handed to the layers above (Wu et al. 2016; Chen et al. 2018), or with the output of its highest and handed to
the softmax (Luong et al. 2015), or both. So in training every layer reads the whole target at once, and nothing steps
through time but the LSTM itself.

Shapes: N real target steps, B sources, R rows decoded side by side, E features of an embedding, H hidden, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from seqkit.frontends.embedding import TokenEmbedding
from seqkit.heads.attention import Attention, Memory, Scoring
from seqkit.heads.softmax import VocabularySoftmax
from seqkit.lstm import StackedLSTM
from seqkit.lstm.dropout import locked_dropout
from seqkit.lstm.state import LSTMState
from seqkit.sequences import Sequences

Attending = Literal["lowest", "highest", "both"]


@dataclass(frozen=True)
class DecoderState:
    """Where the decoder stands in each of R rows.

    Attributes:
        lstm: (L, R, H).
        memories: the sources, once for each attention.
        owners: (R,) int64, the source of each row.
    """

    lstm: LSTMState
    memories: tuple[Memory, ...]
    owners: Tensor

    def select(self, indices: Tensor) -> DecoderState:
        """The rows named by `indices` (R',) int64; sources that no row is of are let go when they are the most."""
        owners, memories = self.owners.index_select(0, indices), self.memories
        kept, renumbered = torch.unique(owners, return_inverse=True)
        if 2 * len(kept) <= memories[0].batch_size:
            memories, owners = tuple(memory.select(kept) for memory in memories), renumbered
        return DecoderState(self.lstm.select(indices), memories, owners)


class Translator(nn.Module):
    """An LSTM encoder, an LSTM decoder with attention, and a softmax over the target's vocabulary.

    Args:
        source: vectors (V, E) of the source's tokens.
        target: vectors of the target's; may be the same module.
        encoder: the stack that reads the source.
        lowest: the decoder's lowest layer, forward, from E to H features.
        upper: its layers above, forward; from H + F to H features where the lowest attends, F being the encoder's
            output size, else from H to H. None for a decoder of one layer, which attends once whatever `attending` is.
        attending: which layer's output asks: "lowest", for the layers above (and the softmax), "highest", for the
            softmax, or "both", each with an attention of its own.
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
        self.dropout, self.residual, self.start_id = dropout, residual, start_id
        vocab_size, size = target.weight.shape
        hidden, memory_size = lowest.output_size, encoder.output_size
        # What the layers above the lowest are told, and what the softmax is told; one may be all there is.
        self.inner = upper is not None and attending != "highest"
        self.outer = upper is None or attending != "lowest"
        self.attentions = nn.ModuleList(
            Attention(hidden, memory_size, attention_size, scoring) for _ in range(self.inner + self.outer)
        )
        decoder_layers = 1 + (upper.num_layers if upper is not None else 0)
        self.hidden_bridge = nn.Linear(memory_size, decoder_layers * hidden)
        self.cell_bridge = nn.Linear(memory_size, decoder_layers * hidden)
        self.readout = nn.Linear(hidden + memory_size, size)
        for linear in (self.hidden_bridge, self.cell_bridge, self.readout):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.softmax = VocabularySoftmax(vocab_size, size, tied=target.weight if tied else None)

    # The whole target at once ----------------------------------------------------------------------------------------

    def encode(self, source: Sequences) -> tuple[tuple[Memory, ...], LSTMState]:
        """Read sources, ids (N,), each of one token at least: what to attend to, and the decoder's state (L, B, H)."""
        output, final = self.encoder(self.source(source))
        output = locked_dropout(output, self.dropout, self.training)
        directions = self.encoder.directions
        ends = final.layers((self.encoder.num_layers - 1) * directions, directions)  # the highest layer's
        state = LSTMState(self._bridged(ends.hidden, self.hidden_bridge), self._bridged(ends.cell, self.cell_bridge))
        return tuple(attention.remember(output) for attention in self._attentions()), state

    def forward(self, source: Sequences, read: Sequences) -> tuple[Sequences, Tensor]:
        """Read sources and the targets up to each step, ids (N,).

        Returns features (N, E), from which the softmax tells the next token, and the weights (B, T, S) of the attention
        that is nearest to the softmax.
        """
        memories, state = self.encode(source)
        attentions = self._attentions()
        low, _ = self.lowest(self.target(read), state.layers(0, 1))  # (N, H)
        high = low
        if self.inner:
            contexts, weights = attentions[0].ragged(low, memories[0])  # (N, F)
        if self.upper is not None:
            below = low.replace(torch.cat([low.data, contexts.data], dim=1)) if self.inner else low
            high, _ = self.upper(below, state.layers(1, self.upper.num_layers))
            high = high.replace(high.data + low.data) if self.residual else high
        if self.outer:
            contexts, weights = attentions[-1].ragged(high, memories[-1])
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
        memories, lstm = self.encode(read)
        owners = torch.arange(read.batch_size, device=read.data.device)
        return self.advance(torch.full_like(owners, self.start_id), DecoderState(lstm, memories, owners))

    def advance(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Write one more token (R,) of each row: log-probabilities (R, V) of the one after it, and the state."""
        vectors = self.target(Sequences(tokens, [1] * len(tokens))).data  # (R, E)
        low, lowest = self.lowest.step(vectors, state.lstm.layers(0, 1))
        states, attentions, high = [lowest], self._attentions(), low
        if self.inner:
            contexts, _ = attentions[0].rows(low, state.memories[0], state.owners)  # (R, F)
        if self.upper is not None:
            below = torch.cat([low, contexts], dim=1) if self.inner else low
            high, above = self.upper.step(below, state.lstm.layers(1, self.upper.num_layers))
            high = high + low if self.residual else high
            states.append(above)
        if self.outer:
            contexts, _ = attentions[-1].rows(high, state.memories[-1], state.owners)
        features = self._read_out(torch.cat([high, contexts], dim=1))
        return self.softmax.log_probs(features), DecoderState(LSTMState.stack(states), state.memories, state.owners)

    def _attentions(self) -> list[Attention]:
        return [cast(Attention, attention) for attention in self.attentions]

    def _bridged(self, ends: Tensor, bridge: nn.Linear) -> Tensor:
        """The encoder's last state (D, B, H') as the decoder's first (L, B, H)."""
        flat = torch.tanh(bridge(ends.transpose(0, 1).flatten(1)))  # (B, L * H)
        return flat.view(len(flat), -1, self.lowest.hidden_size).transpose(0, 1).contiguous()

    def _read_out(self, joined: Tensor) -> Tensor:
        """(N, H + F) -> (N, E)."""
        return torch.tanh(self.readout(joined))
