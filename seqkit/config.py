"""The strict base of every typed configuration: YAML and `key=value` in, one validated object out.

A wrong key or value is never ignored: all problems of a file and its overrides are collected and raised together as one
`ConfigError`, each with its place and the nearest right name. An override's text is parsed by the type of the field
that it sets, so `2e-5` is a number where a number is asked for, and `no` can be a language.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from seqkit.errors import ConfigError, nearest


class Config(pydantic.BaseModel):
    """Base of every configuration: unknown keys are errors, values are immutable, docstrings describe the fields."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )


ConfigType = TypeVar("ConfigType", bound=Config)


class _Loader(yaml.SafeLoader):
    """YAML whose scalars stay text: the field's own type decides later, so `no` stays `no` and `2e-5` a number.

    Only `null`/`~`/empty keep their meaning, since "nothing" cannot be told from a text otherwise.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _no_duplicates(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    """Build a mapping, and refuse a key that stands twice (YAML would keep the last in silence)."""
    seen: set[str] = set()
    for key_node, _ in node.value:
        if key_node.value in seen:
            raise yaml.MarkedYAMLError(
                problem=f"the key '{key_node.value}' stands twice", problem_mark=key_node.start_mark
            )
        seen.add(key_node.value)
    return {str(loader.construct_object(k, deep=True)): loader.construct_object(v, deep=True) for k, v in node.value}


_Loader.add_constructor("tag:yaml.org,2002:map", _no_duplicates)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a preset: a mapping whose scalars are text (or None). Raises ConfigError with file and line."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}."]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 at byte {error.start}."]) from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise ConfigError([f"{path}{line}: not valid YAML: {error.problem}."]) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError([f"{path}: holds {type(values).__name__}, where 'key: value' lines are expected."])
    return values


def parse_overrides(overrides: Iterable[str]) -> dict[str, str | None]:
    """Split `key.path=value` arguments. Raises ConfigError for those that have no `=`, all at once."""
    parsed: dict[str, str | None] = {}
    problems = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            problems.append(f"'{override}' is not an override. Write key=value, e.g. training.epochs=3.")
        else:
            parsed[key] = None if value in ("null", "none", "None") else value
    if problems:
        raise ConfigError(problems)
    return parsed


def resolve(
    config_type: type[ConfigType],
    values: Mapping[str, Any] = types.MappingProxyType({}),
    overrides: Mapping[str, str | None] = types.MappingProxyType({}),
    *,
    source: str = "config",
) -> ConfigType:
    """Build a configuration from nested `values` (a preset) and dotted `overrides`, which win.

    `source` names where `values` come from, for the messages. Raises ConfigError with every problem.
    """
    merged = _copy(values)
    places: dict[str, str] = {}
    problems: list[str] = []
    for key, value in overrides.items():
        problem = _set(merged, key.split("."), value)
        places[key] = f"{key}={value}"
        if problem:
            problems.append(f"{key}={value}: {problem}")
    parsed = _parse(config_type, merged)
    try:
        config = config_type.model_validate(parsed)
    except pydantic.ValidationError as error:
        problems += [_sentence(config_type, item, places, source) for item in error.errors()]
        raise ConfigError(sorted(set(problems))) from error
    if problems:
        raise ConfigError(problems)
    return config


def to_yaml(config: Config) -> str:
    """The whole configuration as YAML, in the order of its fields; `resolve` reads it back to an equal object."""
    values = config.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)


def fields(config_type: type[Config], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Each leaf field of a configuration: dotted name, default and description, nested ones included."""
    for name, field in config_type.model_fields.items():
        nested = _config_type_of(field.annotation)
        if nested is not None and field.default is not None:
            yield from fields(nested, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.get_default(call_default_factory=True), field.description or ""


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _set(values: dict[str, Any], path: list[str], value: str | None) -> str | None:
    """Set a dotted path in nested `values`; returns what is wrong with it, if anything."""
    for part in path[:-1]:
        if values.get(part) is None:
            values[part] = {}
        values = values[part]
        if not isinstance(values, dict):
            return f"'{part}' is a single value and has no keys of its own."
    values[path[-1]] = value
    return None


def _config_type_of(annotation: Any) -> type[Config] | None:
    """The Config class in an annotation such as `Model` or `Model | None`, if there is one."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Config):
            return candidate
    return None


def _accepts(annotation: Any, *kinds: Any) -> bool:
    """Whether an annotation is, or as a union contains, one of `kinds` (generic origins count)."""
    parts = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    return any(part in kinds or typing.get_origin(part) in kinds for part in parts)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _parse(config_type: type[Config], values: dict[str, Any], default: Any = None) -> dict[str, Any]:
    """Turn text into the structure that a field's type asks for; pydantic turns the scalars into numbers and flags.

    A field may have a `default` of its own, e.g. LSTMConfig(hidden_size=128): a key beside those that it sets leaves
    them as they are.
    """
    set_there = default.model_fields_set if isinstance(default, Config) else ()
    parsed: dict[str, Any] = {key: getattr(default, key) for key in set_there}
    for key, value in values.items():
        field = config_type.model_fields.get(key)
        if field is None:
            parsed[key] = value
            continue
        nested = _config_type_of(field.annotation)
        if nested is not None and isinstance(value, dict):
            parsed[key] = _parse(nested, value, parsed.get(key, field.default))
        elif value is None and "none" in typing.get_args(field.annotation):
            parsed[key] = "none"  # which an override reads as null, and which is a choice here
        elif isinstance(value, str) and not _accepts(field.annotation, str):
            parsed[key] = _parse_text(field.annotation, value)
        else:
            parsed[key] = value
    return parsed


def _parse_text(annotation: Any, text: str) -> Any:
    """Read a list or a mapping from an override's text: `a,b,c`, or JSON in brackets."""
    text = text.strip()
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return yaml.load(text, Loader=_Loader)
    if _accepts(annotation, list, tuple):
        return [part.strip() for part in text.split(",")] if text else []
    return text


def _sentence(config_type: type[Config], item: Any, places: Mapping[str, str], source: str) -> str:
    """One problem of pydantic's as a sentence: where, what, and the nearest right name for an unknown key."""
    path = [str(part) for part in item["loc"]]
    dotted = ".".join(path)
    place = next((text for key, text in places.items() if _same_branch(dotted, key)), None)
    where = place if place is not None else f"{source}: {dotted}".removesuffix(": ")
    if item["type"] == "extra_forbidden":
        owner: type[Config] | None = config_type
        for part in path[:-1]:
            field = owner.model_fields.get(part) if owner is not None else None
            owner = _config_type_of(field.annotation) if field is not None else None
        known = list(owner.model_fields) if owner is not None else []
        return f"{where}: there is no key '{path[-1]}' here. {nearest(path[-1], known)}"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "literal_error":
        choices = [choice.strip("'") for choice in str(item["ctx"]["expected"]).replace(" or ", ", ").split(", ")]
        return f"{where}: '{item['input']}' is not one of {', '.join(choices)}. {nearest(str(item['input']), choices)}"
    if item["type"] == "missing":
        return f"{where}: a value is needed. Set {dotted}=..."
    given = "" if place is not None or isinstance(item["input"], dict) else f" (it is '{item['input']}')"
    return f"{where}: {message[:1].lower()}{message[1:]}{given}."


def _same_branch(one: str, other: str) -> bool:
    """Whether one dotted key is the other, or stands below it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
