"""What people script against: names, signatures, commands, options, exit codes, keys. It changes only on purpose."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import seqkit
import seqkit.lstm
from seqkit import errors
from seqkit.config import Config, fields
from seqkit.recipe import DecodeConfig, RecipeConfig
from seqkit.registry import built_in, load
from seqkit.sequences import Sequences
from seqkit.settings import LSTMConfig, TrainingConfig

ROOT = Path(__file__).parents[1]
PRESETS = sorted(ROOT.glob("recipes/*/*.yaml"))


def _parameters(function: Any) -> list[str]:
    """Each parameter as it is written, without annotations: "name", "name=default", "*" before keyword-only ones."""
    shown = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        default = "" if parameter.default is inspect.Parameter.empty else f"={parameter.default!r}"
        shown.append(f"{name}{default}")
    return shown


def test_names_of_the_packages() -> None:
    assert sorted(seqkit.__all__) == ["Sequences", "__version__", "load"]
    assert sorted(seqkit.lstm.__all__) == ["LSTMLayer", "LSTMState", "StackedLSTM"]
    for module in (seqkit, seqkit.lstm):
        assert all(hasattr(module, name) for name in module.__all__)
    with pytest.raises(AttributeError, match="laod"):
        seqkit.laod  # noqa: B018


def test_signatures_of_sequences() -> None:
    assert _parameters(Sequences.from_padded) == ["values", "lengths"]
    assert _parameters(Sequences.from_list) == ["sequences"]
    assert _parameters(Sequences.map) == ["self", "function"]
    assert _parameters(Sequences.padded) == ["self"]
    assert inspect.isdatadescriptor(Sequences.lengths)


def test_signatures_of_the_lstm() -> None:
    assert _parameters(seqkit.lstm.StackedLSTM) == [
        "input_size",
        "hidden_size",
        "num_layers=1",
        "bidirectional=False",
        "dropout=0.0",
        "*",
        "locked_dropout=0.0",
        "weight_dropout=0.0",
        "residual=False",
        "forget_bias=1.0",
        "init='glorot'",
        "cell='lstm'",
        "kernel='auto'",
    ]
    assert _parameters(seqkit.lstm.StackedLSTM.forward) == ["self", "x", "state=None"]
    assert _parameters(seqkit.lstm.StackedLSTM.step) == ["self", "x", "state=None"]
    assert _parameters(seqkit.lstm.StackedLSTM.from_torch) == ["torch_lstm", "kernel='auto'"]
    assert _parameters(seqkit.lstm.StackedLSTM.to_torch) == ["self"]


def test_the_configuration_of_the_lstm_names_its_arguments() -> None:
    arguments = inspect.signature(seqkit.lstm.StackedLSTM).parameters
    assert set(LSTMConfig.model_fields) == set(arguments) - {"input_size"}


def test_signatures_of_load_and_decode() -> None:
    from seqkit.decoding import Decoder

    assert _parameters(seqkit.load) == ["path", "*", "ensemble=()", "recipe=None", "device='auto'"]
    assert _parameters(Decoder.decode) == ["self", "inputs=()", "options"]


# The command line ----------------------------------------------------------------------------------------------------


def _commands(command: Any, name: str = "seqkit") -> Iterator[tuple[str, list[str]]]:
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
    arguments = [parameter.name for parameter in command.params if not parameter.opts[0].startswith("-")]
    yield name, sorted(options) + arguments
    for child, below in getattr(command, "commands", {}).items():
        yield from _commands(below, f"{name} {child}")


def test_commands_and_options() -> None:
    from seqkit.cli.app import app

    assert dict(_commands(typer.main.get_command(app))) == {
        "seqkit": ["--version"],
        "seqkit train": [
            *("--dry-run", "--folds", "--init-from", "--out", "--overwrite", "--recipe", "--resume", "--seed"),
            "--seeds",
            *("recipe", "overrides"),
        ],
        "seqkit eval": ["--data", "--device", "--ensemble", "--json", "--recipe", "--split", "run"],
        "seqkit decode": ["--device", "--ensemble", "--json", "--output", "--recipe", "run", "inputs"],
        "seqkit recipes": [],
        "seqkit recipes list": [],
        "seqkit recipes show": ["reference"],
        "seqkit recipes copy": ["reference", "folder"],
        "seqkit doctor": [],
    }


def test_every_option_and_argument_says_what_it_is_for() -> None:
    from seqkit.cli.app import app

    def walk(command: Any) -> Iterator[tuple[str, Any]]:
        for parameter in command.params:
            yield command.name, parameter
        for below in getattr(command, "commands", {}).values():
            yield from walk(below)

    unexplained = [(name, p.name) for name, p in walk(typer.main.get_command(app)) if not getattr(p, "help", None)]
    assert unexplained == []


def test_exit_codes_of_each_error() -> None:
    made: list[errors.SeqkitError] = [
        kind(["a problem"]) if kind is errors.ConfigError else kind("a problem")
        for kind in errors.SeqkitError.__subclasses__()
        if kind is not errors.InterruptedRun
    ]
    named = {type(error).__name__: error.exit_code for error in made}
    expected = ("ConfigError", "DataError", "RecipeError", "RunError", "InputError", "DivergenceError")
    assert named.keys() >= set(expected)
    assert named.pop("LostProcess") == 1
    assert set(named.values()) == {2}
    assert errors.InterruptedRun("stopped", signal_number=2).exit_code == 130
    assert errors.InterruptedRun("stopped", signal_number=15).exit_code == 143


# Recipes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_preset_resolves_and_says_what_it_is(path: Path) -> None:
    from seqkit.cli.train import configure
    from seqkit.registry import preset_summary

    source, preset, recipe = configure(f"{path.parent.name}/{path.stem}", [])
    assert (source.name, preset) == (path.parent.name, path.stem)
    assert isinstance(recipe.config, RecipeConfig)
    assert preset_summary(path)


def test_every_recipe_has_a_demo_preset_and_a_summary() -> None:
    assert {path.parent.name for path in PRESETS} == set(built_in())
    for source in built_in().values():
        assert "demo" in source.presets()
        assert source.summary()


def _config_types() -> list[type[Config]]:
    types: list[type[Config]] = [TrainingConfig, LSTMConfig]
    for source in built_in().values():
        recipe = load(source)
        types += [recipe.config_type, recipe.options_type]
    return types


@pytest.mark.parametrize("config_type", _config_types(), ids=lambda config_type: config_type.__name__)
def test_every_key_has_a_description(config_type: type[Config]) -> None:
    assert issubclass(config_type, Config)
    described = {key: description for key, _, description in fields(config_type)}
    assert described or config_type is DecodeConfig
    assert [key for key, description in described.items() if not description.strip()] == []


def test_the_metric_of_every_recipe_is_one_that_it_measures() -> None:
    for source in built_in().values():
        recipe = load(source)
        assert isinstance(recipe.metric, str)
        assert isinstance(recipe.version, int)
        assert recipe.sample
