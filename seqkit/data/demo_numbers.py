"""Numbers, dates, times and prices in words, English to German: an honest small task for the demo of translation.

A small grammar makes them from a fixed seed. Numbers are built anew in the other language ("twenty-one" is
"einundzwanzig"), the clock is read otherwise ("half past seven" is "halb acht"), and in the sentences around them the
verb goes to the end, or a part of it does. Every source has one right translation.

No value of validation or test occurs in training, in whatever form. What counts as a value:

- a number: what a cardinal, ordinal, decimal, price or year says, the year of a date and the whole part of a decimal
  or price included. So if test has 1987, training has no 1987th letter, no 1987 people, no price of 1987 euros, with
  or without cents, and no day of that year;
- a day: month and day of the month, with and without a year;
- a time: hour and minute by the clock of twelve hours, however it is said.

Whole numbers below 100 are what values are built of (hours, days of a month, "one hundred and five"); on their own they
stand in training alone. So the held-out parts ask for new values, in words of which each piece is known.
"""

from __future__ import annotations

import calendar
import datetime
import hashlib
import random
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from typing import TypeVar

from seqkit.errors import DataError

Choice = TypeVar("Choice")
Said = dict[str, tuple[str, str]]
"""What stands in a place of a frame: English and German, by the name of the place."""

SIZES = {"train": 8000, "validation": 400, "test": 400}
_SEED = 1997
_SHARE = 20  # one value of so many is test's alone, and one validation's

# English is in lower case, without punctuation. {date} is "the third of may" and in German "der dritte Mai", but after
# "am" it is {date_dative}, "dritten Mai"; the German {ordinal} lacks its ending.
_FRAMES = [
    ("{cardinal}", "{cardinal}"),
    ("{many} people have seen the film", "{many} Leute haben den Film gesehen"),
    ("{person} has counted {many} sheep", "{person} hat {many} Schafe gezählt"),
    ("{person} says that {many} books are missing", "{person} sagt, dass {many} Bücher fehlen"),
    ("this is the {ordinal} {noun}", "das ist der {ordinal}e {noun}"),
    ("{person} has found the {ordinal} {noun}", "{person} hat den {ordinal}en {noun} gefunden"),
    ("the {ordinal} {noun} came in {year}", "der {ordinal}e {noun} kam im Jahr {year} an"),
    ("the {building} was built in {year}", "{building} wurde im Jahr {year} gebaut"),
    ("in {year} the {building} burned down", "im Jahr {year} brannte {building} ab"),
    ("we know that the {building} is from {year}", "wir wissen, dass {building} aus dem Jahr {year} stammt"),
    ("{decimal}", "{decimal}"),
    ("the parcel weighs {decimal} kilograms", "das Paket wiegt {decimal} Kilogramm"),
    ("the road is {decimal} kilometres long", "die Straße ist {decimal} Kilometer lang"),
    ("{money}", "{money}"),
    ("{person} had to pay {money}", "{person} musste {money} bezahlen"),
    ("if the {building} costs {money} we will buy it", "wenn {building} {money} kostet, werden wir zugreifen"),
    ("{time}", "{time}"),
    ("{person} gets up at {time}", "{person} steht um {time} auf"),
    ("because it is {time} the shop is closed", "weil es {time} ist, ist der Laden geschlossen"),
    ("{date}", "{date}"),
    ("{person} was born on {date}", "{person} wurde am {date_dative} geboren"),
    ("on {date} {person} will come back", "am {date_dative} wird {person} zurückkommen"),
    ("today is {date}", "heute ist {date}"),
    ("the train leaves on {date} at {time}", "der Zug fährt am {date_dative} um {time} ab"),
    ("i believe that {person} arrives on {date}", "ich glaube, dass {person} am {date_dative} ankommt"),
    ("{person} has paid {money} on {date}", "{person} hat am {date_dative} {money} bezahlt"),
]
_WORDS = {
    "person": [
        *(("he", "er"), ("she", "sie"), ("the baker", "der Bäcker"), ("the teacher", "die Lehrerin")),
        *(("my brother", "mein Bruder"), ("his aunt", "seine Tante")),
    ],
    "noun": [("letter", "Brief"), ("guest", "Gast"), ("stone", "Stein"), ("cook", "Koch")],
    "building": [
        *(("bridge", "die Brücke"), ("church", "die Kirche"), ("house", "das Haus"), ("tower", "der Turm")),
        *(("mill", "die Mühle"), ("castle", "das Schloss")),
    ],
}
_CURRENCIES = [
    ("euros", "cents", "Euro", "Cent"),
    ("dollars", "cents", "Dollar", "Cent"),
    ("pounds", "pence", "Pfund", "Pence"),
]
_HOURS_OF = {  # which hours by the clock a part of the day has
    ("in the morning", "morgens"): range(5, 12),
    ("in the afternoon", "nachmittags"): range(1, 6),
    ("in the evening", "abends"): range(6, 12),
}


def demo_numbers() -> dict[str, list[dict[str, str]]]:
    """The corpus: {part: rows}, each row with "source" (English) and "target" (German).

    Parts: train 8,000, validation 400 and test 400 pairs. It is the same on every call. Raises DataError where the
    packages that know the words, num2words and babel, are not installed.
    """
    maker = _Maker(_SEED)
    seen: set[str] = set()
    corpus: dict[str, list[dict[str, str]]] = {}
    for part, size in SIZES.items():
        rows = corpus[part] = []
        while len(rows) < size:
            source, target = maker.pair(part)
            if source not in seen:
                seen.add(source)
                rows.append({"source": source, "target": target})
    return corpus


class _Maker:
    """Makes pairs; of each value it draws until it has one of the part that is asked for."""

    def __init__(self, seed: int) -> None:
        try:
            from babel.dates import get_day_names, get_month_names
            from num2words import num2words
        except ImportError as error:
            package = (error.name or "num2words").partition(".")[0]
            raise DataError(
                f"The demo corpus of numbers needs the package {package}, which is not installed.",
                hint="Run: pip install 'seqkit[demo]'",
            ) from error
        self._spell: Callable[..., str] = num2words
        self._both = cache(self._in_words)
        months, days = ([names(locale=tongue) for tongue in ("en", "de")] for names in (get_month_names, get_day_names))
        self._months = [(months[0][month].lower(), months[1][month]) for month in range(1, 13)]
        self._weekdays = [(days[0][day].lower(), days[1][day]) for day in range(7)]
        self._rng = random.Random(seed)

    def pair(self, part: str) -> tuple[str, str]:
        """English and German, with values of one part."""
        frame = self._pick(_FRAMES)
        said: Said = {}
        for name in re.findall(r"{(\w+)}", frame[0]):
            said |= {name: self._pick(_WORDS[name])} if name in _WORDS else getattr(self, f"_{name}")(part)
        english, german = (
            text.format(**{name: both[i] for name, both in said.items()}) for i, text in enumerate(frame)
        )
        return english, german

    # Places of a frame -----------------------------------------------------------------------------------------------

    def _cardinal(self, part: str) -> Said:
        return {"cardinal": self._both(self._whole(part, 1_000_001))}

    def _many(self, part: str) -> Said:
        """A number in front of a noun, in whose German "eins" would have to change."""
        return {"many": self._both(self._whole(part, 1_000_001, alone=False))}

    def _ordinal(self, part: str) -> Said:
        english, german = self._both(self._whole(part, 10_000), to="ordinal")
        return {"ordinal": (english, german.removesuffix("e"))}

    def _year(self, part: str) -> Said:
        return {"year": self._both(self._draw_year(part), to="year")}

    def _decimal(self, part: str) -> Said:
        def draw() -> Decimal:
            places = self._pick([1, 2])
            return Decimal(self._below(1000 if self._below(2) else 20)) + Decimal(self._below(10**places)).scaleb(
                -places
            )

        value = self._draw(draw, lambda value: value % 1 != 0 and _fits(value, part))
        return {"decimal": self._both(value.normalize())}

    def _money(self, part: str) -> Said:
        def draw() -> tuple[int, int]:
            return self._whole(None, 10_000, alone=False), self._pick([0, 2 + self._below(98)])

        whole, rest = self._draw(draw, lambda amount: _fits(amount[0] + Decimal(amount[1]) / 100, part))
        one, hundredth, german_one, german_hundredth = self._pick(_CURRENCIES)
        english, german = self._both(whole)
        english, german = f"{english} {one}", f"{german} {german_one}"
        if rest:
            cents = self._both(rest)
            english, german = f"{english} and {cents[0]} {hundredth}", f"{german} und {cents[1]} {german_hundredth}"
        return {"money": (english, german)}

    def _time(self, part: str) -> Said:
        """Hour and minute, as the clock is read aloud or digit by digit, and now and then the part of the day."""

        def draw() -> tuple[int, int]:
            return 1 + self._below(12), self._below(60) if self._below(3) == 0 else 5 * self._below(12)

        hour, minute = self._draw(draw, lambda time: _part_of(f"time {time[0]}:{time[1]}") == part)
        english, german = (
            self._clock(hour, minute) if minute % 5 == 0 and self._below(2) else self._digits(hour, minute)
        )
        parts = [names for names, hours in _HOURS_OF.items() if hour in hours]
        if parts and self._below(4) == 0:
            of_day = self._pick(parts)
            english, german = f"{english} {of_day[0]}", f"{german} {of_day[1]}"
        return {"time": (english, german)}

    def _date(self, part: str) -> Said:
        """A day: of a year, with or without the day of the week, or of any year."""
        dated, named, american = self._below(2), self._below(3) == 0, self._below(3) == 0
        year = self._draw_year(part)

        def draw() -> datetime.date:
            month = 1 + self._below(12)
            return datetime.date(year, month, 1 + self._below(calendar.monthrange(year, month)[1]))

        date = self._draw(draw, lambda day: _part_of(f"day {day.month}-{day.day}") == part)
        day, month = self._both(date.day, to="ordinal"), self._months[date.month - 1]
        english = f"{month[0]} {day[0]}" if american else f"the {day[0]} of {month[0]}"
        german, dative = f"{day[1]} {month[1]}", f"{day[1]}n {month[1]}"
        if dated:
            spelled = self._both(year, to="year")
            english, german, dative = f"{english} {spelled[0]}", f"{german} {spelled[1]}", f"{dative} {spelled[1]}"
        weekday = self._weekdays[date.weekday()]
        if named:
            english, dative = f"{weekday[0]} {english}", f"{weekday[1]}, dem {dative}"
        german = f"{weekday[1]}, der {german}" if named else f"der {german}"
        return {"date": (english, german), "date_dative": (english, dative)}

    # Words -----------------------------------------------------------------------------------------------------------

    def _in_words(self, number: int | Decimal, to: str = "cardinal") -> tuple[str, str]:
        """A number in English and German; `_both` is this, remembered."""
        return self._spell(number, lang="en", to=to).replace(",", ""), self._spell(number, lang="de", to=to)

    def _clock(self, hour: int, minute: int) -> tuple[str, str]:
        """Full hours, and five minutes by five minutes what is past or to the hour; in German around the half, too."""
        here, following = self._both(hour), self._both(hour % 12 + 1)
        to_hour = self._both(60 - minute)
        past = self._both(minute)
        if minute == 0:
            return f"{here[0]} o'clock", f"{'ein' if hour == 1 else here[1]} Uhr"
        if minute == 30:
            return f"half past {here[0]}", f"halb {following[1]}"
        if minute == 15:
            return f"a quarter past {here[0]}", f"Viertel nach {here[1]}"
        if minute == 45:
            return f"a quarter to {following[0]}", f"Viertel vor {following[1]}"
        if minute in (25, 35):
            german = f"fünf {'vor' if minute == 25 else 'nach'} halb {following[1]}"
        else:
            german = f"{past[1]} nach {here[1]}" if minute < 30 else f"{to_hour[1]} vor {following[1]}"
        return f"{past[0]} past {here[0]}" if minute < 30 else f"{to_hour[0]} to {following[0]}", german

    def _digits(self, hour: int, minute: int) -> tuple[str, str]:
        """Hour and minute, as a timetable has them."""
        if minute == 0:
            return self._clock(hour, minute)
        here, past = self._both(hour), self._both(minute)
        english = f"{here[0]} oh-{past[0]}" if minute < 10 else f"{here[0]} {past[0]}"
        return english, f"{'ein' if hour == 1 else here[1]} Uhr {past[1]}"

    # Draws -----------------------------------------------------------------------------------------------------------

    def _whole(self, part: str | None, below: int, *, alone: bool = True) -> int:
        """A whole number, of any length alike; `part` None for one of any part."""

        def fits(number: int) -> bool:
            # German "einhunderteintausend", which num2words gets wrong; and "einhundertein Leute", not "eins".
            wrong = number > 2000 and number // 1000 % 100 == 1
            return not wrong and (alone or number % 100 != 1) and (part is None or _fits(number, part))

        return self._draw(lambda: int(below ** self._rng.random()), fits)

    def _draw_year(self, part: str) -> int:
        return self._draw(lambda: 1100 + self._below(950), lambda year: _fits(year, part))

    def _draw(self, draw: Callable[[], Choice], fits: Callable[[Choice], bool]) -> Choice:
        while True:
            value = draw()
            if fits(value):
                return value

    def _below(self, end: int) -> int:
        """A whole number from 0. Only `random()` is promised to give the same numbers in every version of Python."""
        return int(self._rng.random() * end)

    def _pick(self, choices: Sequence[Choice]) -> Choice:
        return choices[self._below(len(choices))]


def _fits(number: int | Decimal, part: str) -> bool:
    """Whether a number can stand in a part, and its whole part too."""
    whole = int(number)
    if number == whole:
        return _part_of(f"number {whole}") == part if whole >= 100 else part == "train"
    return (whole < 100 or _fits(whole, part)) and _part_of(f"number {Decimal(number).normalize():f}") == part


def _part_of(value: str) -> str:
    """The part that a value belongs to, drawn by a hash of its name, which is the same everywhere."""
    drawn = int.from_bytes(hashlib.sha256(value.encode()).digest()[:8], "big") % _SHARE
    return {0: "test", 1: "validation"}.get(drawn, "train")
