"""The presets of public data sets read a copy that is laid out as the one on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from seqkit.cli.train import configure

SST5 = ["very negative", "negative", "neutral", "positive", "very positive"]
LAYOUTS: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[str]]] = {
    "sst2": (
        {"idx": "int32", "sentence": "string", "label": ["negative", "positive"]},
        [{"idx": i, "sentence": f"film {i}", "label": i % 2} for i in range(40)],
        ["train", "validation"],
    ),
    "sst5": (
        {"text": "string", "label": "int64", "label_text": "string"},
        [{"text": f"film {i}", "label": i % 5, "label_text": SST5[i % 5]} for i in range(60)],
        ["train", "validation"],
    ),
    "imdb": (
        {"text": "string", "label": ["neg", "pos"]},
        [{"text": f"film {i}<br />", "label": i % 2} for i in range(40)],
        ["train", "test"],
    ),
}


@pytest.fixture(params=list(LAYOUTS))
def preset_and_copy(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.delenv("SEQKIT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    types, rows, parts = LAYOUTS[request.param]
    features = datasets.Features(
        {
            name: datasets.ClassLabel(names=kind) if isinstance(kind, list) else datasets.Value(kind)
            for name, kind in types.items()
        }
    )
    folder = tmp_path / "copy"
    folder.mkdir()
    for part in parts:
        data = datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in types}, features=features)
        data.to_parquet(folder / f"{part}-00000-of-00001.parquet")
    return request.param, folder


def test_the_preset_reads_the_copy(preset_and_copy: tuple[str, Path]) -> None:
    preset, folder = preset_and_copy
    recipe: Any = configure(f"sentiment/{preset}", [f"data.hub.name={folder}", "model.embedding_init=normal"])[2]
    splits = recipe.load_data()
    assert set(splits) == {"train", "validation", "test"}
    recipe.fit(splits["train"])
    assert len(recipe.labels.answers) == (5 if preset == "sst5" else 2)
    items = {name: recipe.items(split) for name, split in splits.items()}
    assert all(len(split) for split in items.values())
    assert {item["answer"] for item in items["test"].values} == set(range(len(recipe.labels.answers)))
    assert all(item["label"] >= 0 for item in items["train"].values)
