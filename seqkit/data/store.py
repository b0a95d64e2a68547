"""Bytes by key in one SQLite file of limited size, which several processes may fill at once.

SQLite's own rollback journal and locks keep it whole; they leave one file, and need no memory shared between processes
as its write-ahead log does, so that a folder on a network will do. Entries are written in batches, one transaction for
many. What fails here never stops a training: it is said once, and the work goes on without the store.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

FILE = "seqkit-prepared-1.sqlite3"
"""The file in the cache's folder; the number is its format, so that versions of seqkit never read each other's."""
TIMEOUT = 30.0
"""Seconds to wait for another process that is writing."""
BATCH_BYTES = 32 * 2**20
"""Bytes that wait in memory before they are written."""
BATCH_SECONDS = 10.0
"""Seconds after which what waits is written all the same: so much work is lost when the process is killed."""
LARGEST = 2**29
"""Bytes of the largest value; SQLite takes no more than twice as much."""

_PAGE = 8192
_SPARE = 10  # when room is made, this part of the limit is freed too, so that the next batches find some
_TABLES = (
    # `used` is updated often and stands apart from the values, so that an update does not rewrite them.
    "CREATE TABLE IF NOT EXISTS entry (key BLOB PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL)"
    " WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS content (key BLOB PRIMARY KEY, checksum INTEGER NOT NULL, value BLOB NOT NULL)",
)
_FOUND = "SELECT key, checksum, value FROM entry JOIN content USING (key) WHERE key IN ({})"
# What this process has given up on, by file: asking again would wait and warn again.
_given_up: dict[Path, set[Literal["reading", "writing"]]] = {}

Result = TypeVar("Result")


class Store:
    """Values by key, both bytes. Use it as a context manager; leaving it writes what still waits."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`limit` is the size in bytes that the file may have. The folder is made where there is none."""
        self.path = folder / FILE
        self.limit = limit
        # What was used since then is not removed to make room: data larger than the limit would drive itself out.
        self._began = time.time_ns()
        self._flushed = time.monotonic()
        self._waiting: dict[bytes, bytes] = {}
        self._waiting_bytes = 0
        self._used: set[bytes] = set()
        self._damaged = self._refused = 0
        self._state: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._off = _given_up.setdefault(self.path.absolute(), set())
        self._try("reading", lambda _: None, None)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def usable(self) -> bool:
        """Whether anything can still be found here."""
        return "reading" not in self._off

    # Reading and writing ---------------------------------------------------------------------------------------------

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those of the keys (a few hundred at most) that are there and undamaged."""
        if not keys:
            return {}
        question = _FOUND.format(",".join("?" * len(keys)))
        nothing: list[tuple[bytes, Any, Any]] = []
        rows = self._try("reading", lambda connection: connection.execute(question, keys).fetchall(), nothing)
        found = {key: value for key, checksum, value in rows if _is_whole(key, checksum, value)}
        self._damaged += len(rows) - len(found)
        self._used.update(found)
        return found

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value, in place of what the key had; it is written with the next batch."""
        if "writing" in self._off or not self.usable:
            return
        if _cost(value) > min(self.limit, LARGEST):
            self._refused += 1
            return
        self._waiting[key] = value
        self._waiting_bytes += len(value)
        if self._waiting_bytes >= BATCH_BYTES or time.monotonic() - self._flushed >= BATCH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits, and which entries were used, in one transaction; the least recently used make room."""
        if self._waiting or self._used:
            self._try("writing", self._write, None)
        self._waiting, self._waiting_bytes, self._used = {}, 0, set()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what waits and close the file. Says how much was damaged, or found no room."""
        self.flush()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._damaged:
            _say(f"{self.path}: {self._damaged} damaged entries were prepared again.")
        if self._refused:
            _say(
                f"{self.path} is full: {self._refused} prepared examples were not kept. A larger SEQKIT_CACHE_SIZE "
                f"holds more (now {self.limit / 2**30:.3g} GiB; one example at most {LARGEST / 2**30:.3g} GiB)."
            )

    def _write(self, connection: sqlite3.Connection) -> None:
        now = time.time_ns()
        with _transaction(connection):
            connection.executemany("UPDATE entry SET used = ? WHERE key = ?", ((now, key) for key in self._used))
            room = self._make_room(connection, sum(map(_cost, self._waiting.values())))
            kept = {}
            for key, value in self._waiting.items():
                if _cost(value) <= room:
                    room -= _cost(value)
                    kept[key] = value
            connection.executemany(
                "INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", ((k, now, len(v)) for k, v in kept.items())
            )
            connection.executemany(
                "INSERT OR REPLACE INTO content VALUES (?, ?, ?)", ((k, _checksum(k, v), v) for k, v in kept.items())
            )
        self._refused += len(self._waiting) - len(kept)
        if _number(connection, "page_count") * _number(connection, "page_size") > self.limit:
            # Not `execute`, which takes one step of it, and so gives back one page.
            connection.executescript("PRAGMA incremental_vacuum")

    def _make_room(self, connection: sqlite3.Connection, wanted: int) -> int:
        """Remove the least recently used entries until `wanted` bytes fit; returns the bytes that now do."""
        room = self._room(connection)
        if room >= wanted:
            return room
        gone: list[tuple[bytes]] = []
        oldest = "SELECT key, CAST(size AS INTEGER) FROM entry WHERE used < ? ORDER BY used, key"
        for key, size in connection.execute(oldest, (self._began,)):
            if room >= wanted + self.limit // _SPARE:
                break
            gone.append((key,))
            room += size
        connection.executemany("DELETE FROM entry WHERE key = ?", gone)
        connection.executemany("DELETE FROM content WHERE key = ?", gone)
        return self._room(connection)

    def _room(self, connection: sqlite3.Connection) -> int:
        pages = _number(connection, "page_count") - _number(connection, "freelist_count")
        return self.limit - pages * _number(connection, "page_size")

    # What can go wrong -----------------------------------------------------------------------------------------------

    def _try(
        self, doing: Literal["reading", "writing"], action: Callable[[sqlite3.Connection], Result], otherwise: Result
    ) -> Result:
        """The action's result; `otherwise`, with a warning the first time, where the disk or the file is in the way."""
        for attempt in (1, 2):
            if doing in self._off or not self.usable:
                break
            try:
                return action(self._open())
            except (sqlite3.Error, OSError) as error:
                if attempt == 2 or not _is_damage(error) or not self._remove(error):
                    self._give_up(doing, error)
        return otherwise

    def _open(self) -> sqlite3.Connection:
        """The connection, made where there is none yet, to a file that has its tables."""
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=TIMEOUT, isolation_level=None)
            self._connection.text_factory = bytes  # damage can make a text of a value, and one that is not UTF-8
            self._state = _identity(self.path)
            if _number(self._connection, "schema_version") == 0:
                # Both only take effect in a new file; the second lets a smaller limit give room back to the disk.
                self._connection.execute(f"PRAGMA page_size = {_PAGE}")
                self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                with _transaction(self._connection):
                    for table in _TABLES:
                        self._connection.execute(table)
        return self._connection

    def _remove(self, damage: Exception) -> bool:
        """Remove a damaged file; False where that fails. Another process may have put a new one there already."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._state == _identity(self.path):
            try:
                self.path.unlink()
                self.path.with_name(f"{FILE}-journal").unlink(missing_ok=True)
            except OSError:
                return False
            _say(f"{self.path}: the cache of prepared examples was damaged ({damage}). It is removed, and filled anew.")
        return True

    def _give_up(self, doing: Literal["reading", "writing"], error: Exception) -> None:
        self._off.add(doing)
        reason = error.strerror if isinstance(error, OSError) else error
        if doing == "reading":
            rest = f"cannot be used ({reason}); preparing goes on without it"
        else:
            rest = f"cannot be written to ({reason}); what is prepared from here on is not kept"
        _say(f"{self.path}: the cache of prepared examples {rest}.")


def usage(folder: Path) -> tuple[int, int]:
    """Bytes and entries of the store in a folder, 0 and 0 where there is none. Raises OSError or sqlite3.Error."""
    path = folder / FILE
    if not path.exists():
        return 0, 0
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=TIMEOUT)) as store:
        if not _number(store, "schema_version"):
            return path.stat().st_size, 0
        return path.stat().st_size, int(store.execute("SELECT count(*) FROM entry").fetchone()[0])


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the body or nothing; it waits for its turn to write before it begins."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself ends it after a full disk
            connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _cost(value: bytes) -> int:
    """Bytes of the file that a value takes, at most: a large one begins a page of its own."""
    return len(value) + (256 if len(value) < _PAGE // 8 else 2 * _PAGE)


def _is_whole(key: bytes, checksum: Any, value: Any) -> bool:
    """Whether a value is what was written under the key; damage can change its type too."""
    return isinstance(value, bytes) and _checksum(key, value) == checksum


def _checksum(key: bytes, value: bytes) -> int:
    """Of both, so that a value never answers for another key."""
    return zlib.crc32(value, zlib.crc32(key))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _say(message: str) -> None:
    warnings.warn(message, stacklevel=2)
