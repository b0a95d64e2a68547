"""The demo corpus of translation must be what it says: right, one answer to a source, and no value in two parts.

The values are read back from the texts by small parsers of number words, which know nothing of how they were made.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from functools import cache

import pytest

from seqkit.data import demo_numbers as numbers
from seqkit.errors import DataError

pytest.importorskip("num2words")
pytest.importorskip("babel")

Corpus = dict[str, list[dict[str, str]]]
Value = tuple[object, ...]

UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
UNITS += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
CARDINALS = {word: number for number, word in enumerate(UNITS)} | {word: 10 * (i + 2) for i, word in enumerate(TENS)}
CARDINALS |= {f"{ten}-{UNITS[unit]}": CARDINALS[ten] + unit for ten in TENS for unit in range(1, 10)}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
IRREGULAR |= {"twelve": "twelfth"}


def _ordinal(word: str) -> str:
    head, dash, last = word.rpartition("-")
    return head + dash + IRREGULAR.get(last, last[:-1] + "ieth" if last.endswith("y") else last + "th")


ORDINALS = {_ordinal(word): word for word in [*CARDINALS, *SCALES]}
MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"]
MONTHS += ["december"]


def _any(words: Iterable[str]) -> str:
    return rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-])"


C = _any([f"(?:{'|'.join(TENS)})(?:-(?:{'|'.join(UNITS[1:10])}))?", *UNITS])
SMALL = "|".join(word for word in ORDINALS if "-" not in word)
S, O, M = _any(SCALES), _any([f"(?:(?:{'|'.join(TENS)})-)?(?:{SMALL})"]), _any(MONTHS)  # noqa: E741
RUN = rf"(?:{C}|{S})(?:(?: and)? (?:{C}|{S}))*"
YEAR = rf"{C} oh-\w+|{RUN}"
PATTERNS = {
    "date": rf"(?:the (?P<day>{O}) of (?P<month>{M})|(?P<month2>{M}) (?P<day2>{O}))(?: (?P<year>{YEAR}))?",
    "clock": rf"(?P<minute>a quarter|half|{C}) (?P<side>past|to) (?P<hour>{C})",
    "full": rf"(?P<hour>{C}) o'clock",
    "digits": rf"(?:(?<=at )|(?<=is )|^)(?P<hour>{C}) (?:oh-(?P<after>\w+)|(?P<minute>{C}))(?= in the|$| the shop)",
    "year": rf"(?:in|from) (?P<year>{YEAR})",
    "money": rf"(?P<whole>{RUN}) (?:euros|dollars|pounds)(?: and (?P<rest>{RUN}) (?:cents|pence))?",
    "decimal": rf"(?P<whole>{RUN}) point (?P<digits>{C}(?: {C})*)",
    "ordinal": rf"(?:(?P<head>{RUN})(?: and)? )?(?P<last>{O})",
    "cardinal": rf"(?P<whole>{RUN})",
}

NEEDED = {"date": MONTHS, "clock": ["past", "to"], "full": ["o'clock"], "money": ["euros", "dollars", "pounds"]}
NEEDED |= {"year": ["in", "from"], "decimal": ["point"], "ordinal": list(ORDINALS)}
"""Words without which a pattern need not be tried."""


def count(words: str) -> int:
    """A cardinal, or a year, in English words."""
    parts = [word for word in words.replace("oh-", "").split() if word != "and"]
    if len(parts) == 2 and not SCALES.keys() & set(parts):
        return CARDINALS[parts[0]] * 100 + CARDINALS[parts[1]]
    total = current = 0
    for word in parts:
        if word == "hundred":
            current *= 100
        elif word in SCALES:
            total, current = total + current * SCALES[word], 0
        else:
            current += CARDINALS[word]
    return total + current


@cache
def values(source: str) -> list[Value]:
    """Every number, day and time that an English text speaks of."""
    found: list[Value] = []
    words = set(source.split())
    for kind, pattern in PATTERNS.items():
        if kind in NEEDED and not words.intersection(NEEDED[kind]):
            continue
        for match in re.finditer(pattern, source):
            said = match.groupdict()
            if kind == "date":
                month, day = said["month"] or said["month2"], said["day"] or said["day2"]
                found.append(("day", MONTHS.index(month) + 1, CARDINALS[ORDINALS[day]]))
            if said.get("year"):
                found.append(("number", Decimal(count(said["year"]))))
            if said.get("hour"):
                hour, minute = CARDINALS[said["hour"]], said.get("minute") or said.get("after") or "zero"
                past = {"a quarter": 15, "half": 30}.get(minute) or CARDINALS[minute]
                if said.get("side") == "to":
                    hour, past = (hour - 2) % 12 + 1, 60 - past
                found.append(("time", hour, past))
            if said.get("whole"):
                whole = count(said["whole"])
                digits = "".join(str(CARDINALS[word]) for word in (said.get("digits") or "").split())
                digits = f"{count(said['rest']):02}" if said.get("rest") else digits
                found += [("number", Decimal(f"{whole}.{digits or 0}").normalize()), ("number", Decimal(whole))]
            if kind == "ordinal":
                found.append(("number", Decimal(count(f"{said['head'] or ''} {ORDINALS[said['last']]}"))))
        source = re.sub(pattern, "#", source)
    return found


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return numbers.demo_numbers()


def test_the_reader_of_values_reads() -> None:
    for source, expected in {
        "one million": [("number", Decimal(1000000)), ("number", Decimal(1000000))],
        "this is the two thousand one hundred and first stone": [("number", Decimal(2101))],
        "the mill was built in nineteen oh-five": [("number", Decimal(1905))],
        "the parcel weighs twelve point zero seven kilograms": [("number", Decimal("12.07")), ("number", Decimal(12))],
        "he had to pay ninety dollars and five cents": [("number", Decimal("90.05")), ("number", Decimal(90))],
        "twenty-five to one": [("time", 12, 35)],
        "he gets up at one oh-five": [("time", 1, 5)],
        "today is sunday may third nineteen hundred": [("day", 5, 3), ("number", Decimal(1900))],
    }.items():
        assert values(source) == expected


def test_no_value_of_a_held_out_part_stands_in_another(corpus: Corpus) -> None:
    found = {part: Counter(value for row in rows for value in values(row["source"])) for part, rows in corpus.items()}
    assert all(values(row["source"]) for rows in corpus.values() for row in rows)

    def own(part: str) -> set[Value]:
        """Values, without the small whole numbers that values are built of."""
        whole = {value for value in found[part] if value[0] == "number" and value[1] in range(100)}
        return set(found[part]) - whole

    assert not own("train") & (own("validation") | own("test"))
    assert not own("validation") & own("test")
    for part in ("validation", "test"):
        assert {kind for kind, *_ in own(part)} == {"number", "day", "time"}
        small = [row for row in corpus[part] if not set(values(row["source"])) & own(part)]
        assert small == []


ONES = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"]
ONES += ["dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"]
DECADES = ["zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]
GERMAN = {word: number for number, word in enumerate(ONES)} | {"ein": 1, "": 0}
GERMAN |= {word: 10 * (i + 2) for i, word in enumerate(DECADES)}


def german(word: str) -> int:
    """A cardinal in a German word; KeyError for any other word."""
    for scale, size in (("tausend", 1000), ("hundert", 100)):
        head, found, tail = word.partition(scale)
        if found:
            return german(head) * size + german(tail)
    unit, found, ten = word.partition("und")
    return GERMAN[unit] + GERMAN[ten] if found else GERMAN[word]


def test_both_sides_say_the_same_numbers(corpus: Corpus) -> None:
    """The cardinals and years from 100 on of each German text are those of the English one."""
    checked = 0
    for row in corpus["train"] + corpus["test"]:
        told = {value[1] for value in values(row["source"]) if value[0] == "number"}
        for word in row["target"].replace(",", "").split():
            if "hundert" in word or "tausend" in word:
                if re.search(r"te[rn]?$", word):
                    continue  # an ordinal
                checked += 1
                assert german(word) in told, row
    assert checked > 4000


def test_every_word_of_the_held_out_parts_is_made_of_known_pieces(corpus: Corpus) -> None:
    words = {
        (part, side): {word for row in rows for word in row[side].split()}
        for part, rows in corpus.items()
        for side in ("source", "target")
    }
    pieces = re.compile(r"hundert|tausend|und|\w+?(?=hundert|tausend|und|$)")
    known = {piece for word in words["train", "target"] for piece in pieces.findall(word)}
    for part in ("validation", "test"):
        assert words[part, "source"] <= words["train", "source"]
        new = words[part, "target"] - words["train", "target"]
        assert all("hundert" in word or "tausend" in word for word in new)
        assert {piece for word in new for piece in pieces.findall(word)} <= known
    assert len(words["train", "source"]) < 350


def test_the_corpus_is_the_same_each_time_with_one_answer_to_a_source(corpus: Corpus) -> None:
    assert corpus == numbers.demo_numbers()
    assert {part: len(rows) for part, rows in corpus.items()} == numbers.SIZES
    sources = [row["source"] for rows in corpus.values() for row in rows]
    assert len(set(sources)) == len(sources)
    assert not any(re.search(r"[^a-z' -]", source) for source in sources)
    for rows in corpus.values():
        assert all(set(row) == {"source", "target"} and "  " not in "".join(row.values()) for row in rows)


def test_a_source_that_is_made_again_gets_the_same_translation() -> None:
    maker = numbers._Maker(0)
    pairs: dict[str, str] = {}
    again = 0
    for _ in range(1000):
        source, target = maker.pair("test")
        again += source in pairs
        assert pairs.setdefault(source, target) == target
    assert again > 50


@pytest.mark.parametrize(
    ("hour", "minute", "english", "german"),
    [
        (7, 30, "half past seven", "halb acht"),
        (12, 35, "twenty-five to one", "fünf nach halb eins"),
        (12, 45, "a quarter to one", "Viertel vor eins"),
        (9, 25, "twenty-five past nine", "fünf vor halb zehn"),
        (3, 50, "ten to four", "zehn vor vier"),
        (1, 20, "twenty past one", "zwanzig nach eins"),
        (1, 0, "one o'clock", "ein Uhr"),
    ],
)
def test_the_clock(hour: int, minute: int, english: str, german: str) -> None:
    assert numbers._Maker(0)._clock(hour, minute) == (english, german)


def test_the_timetable() -> None:
    maker = numbers._Maker(0)
    assert maker._digits(1, 5) == ("one oh-five", "ein Uhr fünf")
    assert maker._digits(12, 21) == ("twelve twenty-one", "zwölf Uhr einundzwanzig")


@pytest.mark.parametrize("package", ["num2words", "babel"])
def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # what makes an import fail
    with pytest.raises(DataError, match=rf"package {package}, which is not installed.*pip install 'seqkit\[demo\]'"):
        numbers.demo_numbers()
