"""Configurations: strict, typed by their fields, and all their problems at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from seqkit.config import Config, fields, parse_overrides, read_yaml, resolve, to_yaml
from seqkit.errors import ConfigError, nearest


class Inner(Config):
    """Inner."""

    rate: float = Field(default=1e-3, gt=0)
    """A rate."""
    sizes: tuple[int, ...] = (1, 2)
    """Sizes."""
    kind: Literal["cat", "dog"] = "cat"
    """A kind."""


class Outer(Config):
    """Outer."""

    inner: Inner = Inner()
    """Nested."""
    language: str = "en"
    """A language."""
    steps: int | None = None
    """Steps."""
    flag: bool = False
    """A flag."""
    names: dict[str, str] | None = None
    """Names."""


def test_overrides_are_parsed_by_the_type_of_their_field() -> None:
    config = resolve(
        Outer,
        {},
        parse_overrides(["inner.rate=2e-5", "language=no", "steps=30", "flag=yes", "inner.sizes=3,4", "names={0: a}"]),
    )
    assert config == Outer(inner=Inner(rate=2e-5, sizes=(3, 4)), language="no", steps=30, flag=True, names={"0": "a"})


def test_yaml_scalars_stay_text_until_the_field_decides(tmp_path: Path) -> None:
    path = tmp_path / "preset.yaml"
    path.write_text("# a line\nlanguage: no\nsteps: null\ninner:\n  rate: 2e-5\n  sizes: [5]\nnames: {0: negative}\n")
    config = resolve(Outer, read_yaml(path))
    assert (config.language, config.steps, config.inner.rate, config.inner.sizes) == ("no", None, 2e-5, (5,))
    assert config.names == {"0": "negative"}


def test_overrides_win_and_null_resets() -> None:
    config = resolve(Outer, {"steps": "5", "language": "de"}, parse_overrides(["steps=null"]))
    assert (config.steps, config.language) == (None, "de")


def test_a_key_beside_a_fields_own_defaults_leaves_them(tmp_path: Path) -> None:
    class Middle(Config):
        inner: Inner = Inner(rate=0.5, kind="dog")

    class Top(Config):
        middle: Middle = Middle(inner=Inner(sizes=(7,)))
        plain: Middle = Middle()

    config = resolve(Top, {"plain": {"inner": {"sizes": "9"}}}, parse_overrides(["middle.inner.kind=dog"]))
    assert config.plain.inner == Inner(rate=0.5, kind="dog", sizes=(9,))
    assert config.middle.inner == Inner(sizes=(7,), kind="dog")
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert resolve(Top, read_yaml(path)) == config


def test_every_problem_is_named_at_once_with_its_place_and_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(
            Outer,
            {"inner": {"rats": "1"}, "steps": "many"},
            parse_overrides(["inner.kind=dgo", "languag=de", "inner.rate=-1", "flag.deep=1"]),
            source="preset.yaml",
        )
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 6
    assert "preset.yaml: inner.rats: there is no key 'rats' here. Did you mean 'rate'?" in text
    assert "preset.yaml: steps:" in text
    assert "'many'" in text
    assert "inner.kind=dgo: 'dgo' is not one of cat, dog. Did you mean 'dog'?" in text
    assert "languag=de: there is no key 'languag' here. Did you mean 'language'?" in text
    assert "inner.rate=-1: input should be greater than 0" in text
    assert "flag.deep=1" in text


@pytest.mark.parametrize("value", ["1.5", "nan", "", "1,2"])
def test_a_whole_number_is_a_whole_number(value: str) -> None:
    with pytest.raises(ConfigError, match="steps"):
        resolve(Outer, {}, {"steps": value})


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: 1\na: 2\n", "a: [1\n", "a\n"])
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        read_yaml(path)


def test_an_override_needs_an_equals_sign() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides(["a=1", "b", "=2"])
    assert len(caught.value.problems) == 2


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = Outer(inner=Inner(rate=2e-5, kind="dog"), language="no", names={"0": "null", "1": "true"})
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert resolve(Outer, read_yaml(path)) == config


def test_fields_lists_every_leaf_with_its_description() -> None:
    listed = {name: (default, description) for name, default, description in fields(Outer)}
    assert listed["inner.rate"] == (1e-3, "A rate.")
    assert set(listed) == {"inner.rate", "inner.sizes", "inner.kind", "language", "steps", "flag", "names"}


def test_nearest_names_the_closest_or_lists_all() -> None:
    assert nearest("sentimnet", ["sentiment", "speech"]) == "Did you mean 'sentiment'?"
    assert nearest("zzz", ["b", "a"]) == "Known: a, b."
