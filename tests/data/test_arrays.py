"""Arrays in .npy and .npz files: what is read is what was written, and what cannot be used says why."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqkit.config import resolve
from seqkit.data.arrays import array_file, locate, read_array
from seqkit.data.config import DataConfig
from seqkit.data.splits import Sources, fingerprint, load_splits
from seqkit.errors import InputError

ARRAYS = Sources(files=frozenset({"joints"}), arrays=True)
COLUMNS = {"joints": "sequence", "label": "action"}


def clip(seed: int = 0, frames: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 20, 4)).astype(np.float32)


def save(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "i2", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_was_written_is_read(tmp_path: Path, dtype: str, order: Any) -> None:
    array = np.asarray(clip() * 50, order=order).astype(dtype, order="K")
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "one.npz", x=array)
    np.savez_compressed(tmp_path / "two.npz", x=array, y=array[:2])
    for source in ("a.npy", "one.npz", "one.npz::x", "two.npz::x"):
        read = read_array(tmp_path / source if "::" not in source else f"{tmp_path}/{source}", dimensions=3)
        np.testing.assert_array_equal(read, array)
        assert read.dtype.isnative
    assert len(read_array(f"{tmp_path}/two.npz::y")) == 2


def test_an_array_of_no_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((0, 20, 3)))
    assert read_array(tmp_path / "a.npy").shape == (0, 20, 3)


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(3))
    assert read_array(f"{path}::x").shape == (3,)
    np.savez(path, x=np.zeros(4), z=np.zeros(1))
    assert read_array(f"{path}::x").shape == (4,)


class Evil:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('it ran')",))


def npy(header: bytes, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + content


def test_what_cannot_be_used(tmp_path: Path) -> None:
    files: dict[str, bytes] = {
        "text.npy": b"hello",
        "empty.npy": b"",
        "pickle.npy": pickle.dumps(Evil()),
        "torn.npz": b"PK\x03\x04 and then nothing",
        "code.npy": npy(b"__import__('os').system('true')"),
        "huge.npy": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"),
        "short.npy": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (10,), }", b"12345678"),
        "minus.npy": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8), }", b"12345678"),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    objects = np.array([Evil(), None], dtype=object)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=objects)
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "flags.npy", np.array([True]))
    np.save(tmp_path / "flat.npy", np.zeros((3, 2)))
    save(tmp_path / "many.npz", {f"clip{i}": np.zeros(1) for i in range(7)})
    np.savez(tmp_path / "none.npz")
    expected = {
        "absent.npy": "there is no such file",
        "absent.npz::x": "absent.npz: there is no such file",
        "text.npy": "not an array in numpy's format",
        "empty.npy": "not an array in numpy's format",
        "pickle.npy": "not an array in numpy's format",
        "code.npy": "not an array in numpy's format",
        "torn.npz": "damaged",
        "objects.npy": "values of type object, where numbers are expected",
        "objects.npz::x": "values of type object",
        "words.npy": "values of type <U1",
        "flags.npy": "values of type bool",
        "flat.npy": r"an array of 2 dimensions \[3, 2\], where 3 are expected",
        "huge.npy": "too large; 1024 MiB are the most",
        "minus.npy": "too large|dimensions",
        "short.npy": "2 dimensions|1 dimensions",
        "many.npz": r"holds 7 arrays \(clip0, clip1, clip2, clip3, clip4, ...\): name one, as many.npz::clip0",
        "many.npz::clip9": r"there is no array 'clip9' among its 7. Did you mean 'clip\d'",
        "none.npz": "holds no array",
    }
    for name, sentence in expected.items():
        dimensions = None if name in ("huge.npy", "minus.npy") else 3
        with pytest.raises(InputError, match=sentence):
            read_array(f"{tmp_path}/{name}", dimensions=dimensions)
    with pytest.raises(InputError, match="cut short: 8 of 80 bytes"):
        read_array(tmp_path / "short.npy")
    with pytest.raises(InputError, match=r"cannot be read|no such file"):
        read_array(tmp_path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A file of a few KiB that would be many MiB of zeros: what the header says is refused, and no more is read."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }"
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("said.npy", "w") as member:
            member.write(npy(header % (300 * 2**17)))
            for _ in range(3):
                member.write(bytes(10 * 2**20))
        with archive.open("hidden.npy", "w") as member:
            member.write(npy(header % 4, bytes(32)))
            for _ in range(3):
                member.write(bytes(10 * 2**20))
        archive.writestr("header.npy", b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + bytes(10 * 2**20))
    tracemalloc.start()
    with pytest.raises(InputError, match="too large; 64 MiB"):
        read_array(f"{tmp_path}/a.npz::said", largest=64 * 2**20)
    assert read_array(f"{tmp_path}/a.npz::hidden").tolist() == [0.0] * 4
    with pytest.raises(InputError, match=r"version 2.0"):
        read_array(f"{tmp_path}/a.npz::header")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


def test_a_table_names_arrays_beside_it(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("dev", 2)):
        names = [f"{part}_{i}" for i in range(count)]
        (tmp_path / f"{part}.tsv").write_text(
            "sequence\taction\n" + "".join(f"{name}\t{i % 2}\n" for i, name in enumerate(names))
        )
        save(tmp_path / f"{part}.npz", {name: clip(i) for i, name in enumerate(names)})
    config = resolve(
        DataConfig, {"path": str(tmp_path), "train": "train.tsv", "validation": "dev.tsv", "test_fraction": 0.0}
    )
    parts = load_splits(config, COLUMNS, sources=ARRAYS)
    assert parts["train"].column("joints")[3] == f"{tmp_path}/train.npz::train_3"
    np.testing.assert_array_equal(read_array(parts["validation"].column("joints")[1]), clip(1))
    before = fingerprint(parts["train"])
    save(tmp_path / "train.npz", {f"train_{i}": clip(i, frames=9) for i in range(6)})
    assert fingerprint(load_splits(config, COLUMNS, sources=ARRAYS)["train"]) != before


def test_what_a_name_stands_for(tmp_path: Path) -> None:
    save(tmp_path / "t.npz", {"a": clip(), "b.1": clip()})
    np.save(tmp_path / "c", clip())
    (tmp_path / "a.npy").write_bytes((tmp_path / "c.npy").read_bytes())
    here = str(tmp_path)
    for table in (tmp_path / "t.tsv", tmp_path / "t.csv.gz"):
        assert locate(table, "a") == f"{here}/t.npz::a"
        assert locate(table, "b.1") == f"{here}/t.npz::b.1"
        assert locate(table, "a.npy") == f"{here}/a.npy"
        assert locate(table, "d.npy") == f"{here}/d.npy"
        assert locate(table, "e") == f"{here}/t.npz::e"  # reading it tells which file lacks it
        assert locate(table, "other.npz::x") == f"{here}/other.npz::x"
    assert locate(tmp_path / "u.tsv", "a") == f"{here}/a"
    assert array_file(f"{here}/t.npz::a") == tmp_path / "t.npz"
    with pytest.raises(InputError, match=r"t.npz: there is no array 'e' among its 2"):
        read_array(locate(tmp_path / "t.tsv", "e"))
    odd = tmp_path / "odd::name.npy"
    odd.write_bytes(io.BytesIO((tmp_path / "c.npy").read_bytes()).getvalue())
    np.testing.assert_array_equal(read_array(odd), clip())
