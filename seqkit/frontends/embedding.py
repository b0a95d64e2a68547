"""Token ids to vectors, with the noise that keeps a small data set from being learned by heart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqkit.sequences import Sequences


class TokenEmbedding(nn.Module):
    """A vector (E,) for each of `vocab_size` ids.

    Training can replace ids by `unk_id` with probability `word_dropout`, drop whole word types (all their occurrences
    in the batch) with probability `embedding_dropout` and scale the others up (Merity et al. 2017), and add Gaussian
    `noise` of that standard deviation. Vectors begin normal with standard deviation `init_std`, and are read multiplied
    by `scale`: a weight that a softmax shares is best small, and what an LSTM reads best of about unit size (Vaswani et
    al. 2017 take the square root of E).
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        *,
        unk_id: int = 0,
        word_dropout: float = 0.0,
        noise: float = 0.0,
        embedding_dropout: float = 0.0,
        init_std: float = 0.1,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        for name, share in (("word_dropout", word_dropout), ("embedding_dropout", embedding_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be in [0, 1), not {share}")
        if noise < 0 or init_std < 0:
            raise ValueError(f"noise and init_std must not be negative: {noise}, {init_std}")
        if not 0 <= unk_id < vocab_size:
            raise ValueError(f"unk_id must be one of the {vocab_size} ids, not {unk_id}")
        self.unk_id = unk_id
        self.word_dropout = word_dropout
        self.noise = noise
        self.embedding_dropout = embedding_dropout
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(vocab_size, embedding_size))  # (V, E)
        nn.init.normal_(self.weight, std=init_std)

    def forward(self, ids: Sequences) -> Sequences:
        """Ids (N,) int64 to vectors (N, E)."""
        return ids.map(self._embed)

    def _embed(self, ids: Tensor) -> Tensor:  # (N,) -> (N, E)
        if self.training and self.word_dropout > 0:
            dropped = torch.rand(ids.shape, device=ids.device) < self.word_dropout  # (N,)
            ids = ids.masked_fill(dropped, self.unk_id)
        vectors = F.embedding(ids, self.weight)  # (N, E)
        if self.scale != 1:
            vectors = vectors * self.scale
        if self.training and self.embedding_dropout > 0:
            keep = 1 - self.embedding_dropout
            kept = torch.empty(self.weight.shape[0], 1, device=ids.device, dtype=vectors.dtype).bernoulli_(
                keep
            )  # (V, 1)
            vectors = vectors * (kept / keep)[ids]
        if self.training and self.noise > 0:
            vectors = vectors + self.noise * torch.randn_like(vectors)
        return vectors

    def extra_repr(self) -> str:
        """Sizes and rates."""
        vocab_size, size = self.weight.shape
        rates = f"word_dropout={self.word_dropout}, noise={self.noise}, embedding_dropout={self.embedding_dropout}"
        return f"{vocab_size}, {size}, unk_id={self.unk_id}, {rates}"
