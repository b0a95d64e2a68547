"""Detectors: errors hang on the past alone, a stream says what the whole series says, normal rows can be learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from seqkit.heads import autoencoder, detector
from seqkit.heads.autoencoder import WindowAutoencoder
from seqkit.heads.detector import Detector, Detectors, StepForecaster
from seqkit.lstm import StackedLSTM
from seqkit.sequences import Sequences

COLUMNS = 3


def _network(kind: str, extra: int = 0, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    made: Detector
    if kind == "autoencoder":
        encoder, decoder = StackedLSTM(COLUMNS + extra, 8, 2), StackedLSTM(2, 8)
        made = WindowAutoencoder(COLUMNS, encoder, decoder, code_size=2, window=5)
    else:
        made = StepForecaster(COLUMNS, StackedLSTM(COLUMNS + extra, 8, 2), change=kind == "change")
        torch.nn.init.normal_(made.output.weight, std=0.3)  # `change` begins at zero
    return made.eval()


def _series(rows: int = 40, seed: int = 1, extra: int = 0) -> Tensor:
    return torch.randn(rows, COLUMNS + extra, generator=torch.Generator().manual_seed(seed))


KINDS = ["level", "change", "autoencoder"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extra", [0, 3])
def test_a_stream_says_what_the_whole_series_says(kind: str, extra: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "PIECE", 7)  # long series are read in pieces
    monkeypatch.setattr(autoencoder, "WINDOWS", 7)
    network, series = _network(kind, extra), _series(extra=extra)
    with torch.inference_mode():
        whole = network.errors(series)
        stream = network.stream()
        steps = [stream.step(row) for row in series]
    assert [step is None for step in steps] == [row < network.context for row in range(len(series))]
    assert bool(whole[: network.context].isnan().all())
    assert not bool(whole[network.context :].isnan().any())
    torch.testing.assert_close(torch.stack([s for s in steps if s is not None]), whole[network.context :])


@pytest.mark.parametrize("kind", KINDS)
def test_errors_hang_on_no_later_row(kind: str) -> None:
    network, series = _network(kind), _series()
    changed = series.clone()
    changed[20:] += 3.0
    with torch.inference_mode():
        before, after = network.errors(series), network.errors(changed)
    torch.testing.assert_close(before[:20], after[:20], equal_nan=True)
    assert bool((before[20] != after[20]).any())


def test_a_forecaster_errs_by_what_came_less_what_was_expected() -> None:
    network, series = _network("change"), _series(6)
    assert isinstance(network, StepForecaster)
    with torch.inference_mode():
        for row in range(1, 6):
            read, _ = network.lstm(Sequences.from_list([series[:row]]))
            expected = series[row - 1] + network.output(read.data[-1])
            torch.testing.assert_close(network.errors(series)[row], series[row] - expected)


def test_an_autoencoder_errs_by_the_root_mean_square_of_its_window() -> None:
    network, series = _network("autoencoder"), _series(9)
    assert isinstance(network, WindowAutoencoder)
    with torch.inference_mode():
        window = series[3:8]
        written = network(Sequences.from_list([window])).data
        torch.testing.assert_close(network.errors(series)[7], (window - written).square().mean(0).sqrt())


def test_training_errors_of_ragged_windows_are_those_of_each_alone() -> None:
    network = _network("level")
    windows = [_series(rows, seed=rows) for rows in (4, 9, 1, 9, 2)]
    with torch.inference_mode():
        errors, rows = network.training_errors(batch := Sequences.from_list(windows))
        alone = torch.cat([network.errors(window)[1:].reshape(-1) for window in windows])
    assert len(errors) == len(rows) == sum(len(window) - 1 for window in windows)
    torch.testing.assert_close(errors.flatten().sort().values, alone.sort().values)
    assert bool((batch.time_index[rows] > 0).all())


def test_missing_values_cost_nothing() -> None:
    networks = Detectors([_network("level")])
    windows = Sequences.from_list([_series(6)])
    real = torch.ones(6, COLUMNS, dtype=torch.bool)
    real[3, 1] = False
    squares, count = networks.loss(windows, torch.tensor([0]), real)
    errors, _ = networks.of(0).training_errors(windows)
    assert count == 5 * COLUMNS - 1
    torch.testing.assert_close(squares, errors.square().sum() - errors[2, 1].square())


def test_separate_networks_learn_from_their_own_series_alone() -> None:
    networks = Detectors([_network("level", seed=seed) for seed in range(3)])
    windows = Sequences.from_list([_series(6, seed) for seed in range(4)])
    squares, count = networks.loss(windows, torch.tensor([2, 0, 2, 0]), torch.ones(24, COLUMNS, dtype=torch.bool))
    expected = sum(networks.of([2, 0, 2, 0][n]).errors(_series(6, n))[1:].square().sum() for n in range(4))
    torch.testing.assert_close(squares, expected)
    assert count == 4 * 5 * COLUMNS
    squares.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in networks.of(1).parameters())
    assert all(p.grad is not None for p in networks.of(2).parameters())


@pytest.mark.parametrize("kind", ["level", "autoencoder"])
def test_what_is_learned_is_normal_and_another_rhythm_is_not(kind: str) -> None:
    network = _network(kind).train()
    time = torch.arange(400.0)
    series = torch.stack([torch.sin(time / 3), torch.cos(time / 3), torch.sin(time / 3 + 1)], dim=1)
    rng, size = np.random.default_rng(0), 5 if kind == "autoencoder" else 20
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        starts = rng.integers(0, 280, 16)
        errors, _ = network.training_errors(Sequences.from_list([series[s : s + size] for s in starts]))
        optimizer.zero_grad()
        errors.square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    odd = series.clone()
    odd[350:] = torch.stack([torch.sin(2 * time / 3), torch.cos(2 * time / 3), torch.sin(2 * time / 3)], dim=1)[350:]
    with torch.inference_mode():
        squares = network.eval().errors(odd).square().mean(1)
    assert squares[360:].mean() > 20 * squares[300:350].mean()


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="forward only"):
        StepForecaster(2, StackedLSTM(2, 4, bidirectional=True))
    with pytest.raises(ValueError, match="reads 1 columns"):
        StepForecaster(2, StackedLSTM(1, 4))
    with pytest.raises(ValueError, match="at least 2 rows"):
        WindowAutoencoder(2, StackedLSTM(2, 4), StackedLSTM(3, 4), code_size=3, window=1)
    with pytest.raises(ValueError, match="code has 3"):
        WindowAutoencoder(2, StackedLSTM(2, 4), StackedLSTM(2, 4), code_size=3, window=4)
    with pytest.raises(ValueError, match="forward only"):
        WindowAutoencoder(2, StackedLSTM(2, 4), StackedLSTM(3, 4, bidirectional=True), code_size=3, window=4)


def test_a_series_shorter_than_a_window_has_no_errors() -> None:
    assert bool(_network("autoencoder").errors(_series(4)).isnan().all())
    assert bool(_network("level").errors(_series(1)).isnan().all())
