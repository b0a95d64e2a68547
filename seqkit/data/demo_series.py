"""Demo corpora of time series, made here: demand by the hour to be forecast, and sensors of machines that fail.

Shapes: T rows, D columns.
"""

from __future__ import annotations

import numpy as np

from seqkit.data.series import Series, Step

_START = np.datetime64("2024-01-01T00:00:00", "ns")
_HOUR = Step.fixed(np.timedelta64(1, "h"))
_MINUTE = Step.fixed(np.timedelta64(1, "m"))
SITES = 8
"""Series of the forecasting corpus."""
MACHINES, SENSORS, NORMAL = 6, ("pressure", "temperature", "vibration"), 1200
"""Series of the anomaly corpus, their columns, and the first rows of each, which are normal."""


def demo_forecasting() -> list[Series]:
    """Demand at eight sites, by the hour, 60 to 90 days: a day that differs at weekends and has two peaks, a level that
    wanders, and demand of very different size."""
    return [_site(number, np.random.Generator(np.random.PCG64([7, number]))) for number in range(SITES)]


def _site(number: int, rng: np.random.Generator) -> Series:
    days = 60 + 30 * number // (SITES - 1)
    hours = np.arange(24 * days)
    times = _START + hours * np.timedelta64(1, "h")
    hour, weekday = hours % 24, hours // 24 % 7
    morning, evening = 7.0 + 3.0 * rng.random(), 16.0 + 4.0 * rng.random()
    work = 1.2 * _peak(hour, morning, 2.0) + _peak(hour, evening, 2.5)
    rest = 0.9 * _peak(hour, 0.5 * (morning + evening), 4.0)
    shape = np.where(weekday < 5, work, rest)
    # A level that comes back to its mean: what a day says of the next one, and seasonal-naive takes too seriously.
    level = np.zeros(days)
    for day in range(1, days):
        level[day] = 0.6 * level[day - 1] + 0.12 * rng.standard_normal()
    noise = np.exp(0.08 * rng.standard_normal(len(hours)))
    size = 10.0 ** (1.0 + 3.0 * number / (SITES - 1))
    demand = size * (0.4 + shape) * np.exp(level[hours // 24]) * noise
    return Series(f"site-{number + 1}", ("demand",), demand[:, None], times, _HOUR, "demo")


def _peak(hour: np.ndarray, at: float, width: float) -> np.ndarray:
    """A bump of the day, in hours."""
    return np.asarray(np.exp(-0.5 * ((hour - at) / width) ** 2))


def demo_anomalies() -> list[Series]:
    """Three sensors on each of six machines, by the minute; after 1,200 normal rows come 1,200 with five faults, which
    the label "anomaly" marks: a spike, a sensor that is stuck, a drift, another rhythm, and two sensors that part."""
    return [_machine(number, np.random.Generator(np.random.PCG64([11, number]))) for number in range(MACHINES)]


def _machine(number: int, rng: np.random.Generator) -> Series:
    count = 2 * NORMAL
    rows = np.arange(count)
    period = 40.0 + 6.0 * number
    values = _sensors(rows / period, rng)
    labels = np.zeros(count)
    faults = ["spike", "stuck", "drift", "rhythm", "apart"]
    places = NORMAL + 100 + 215 * rng.permutation(len(faults)) + rng.integers(0, 60, len(faults))
    for fault, start in zip(faults, places.tolist(), strict=True):
        length = 6 if fault == "spike" else 80
        stop = start + length
        labels[start:stop] = 1.0
        own = rows[:length]
        if fault == "spike":
            values[start:stop, 2] += 1.5 + rng.random()
        elif fault == "stuck":
            values[start:stop, 0] = values[start, 0]
        elif fault == "drift":
            values[start:stop, 1] += 1.2 * own / length
        elif fault == "rhythm":
            values[start:stop] = _sensors(start / period + own / (0.45 * period), rng)
        else:
            values[start:stop, 0] = -values[start:stop, 0]
    # Every machine and sensor has a size of its own.
    values = values * (10.0 ** rng.uniform(-1.0, 2.0, 3)) + 10.0 * rng.standard_normal(3)
    times = _START + rows * np.timedelta64(1, "m")
    return Series(f"machine-{number + 1}", SENSORS, values, times, _MINUTE, "demo", labels={"anomaly": labels})


def _sensors(turns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T, 3) normal readings at so many turns of the machine."""
    angle = 2.0 * np.pi * turns
    pressure = np.sin(angle) + 0.3 * np.sin(2.0 * angle)
    temperature = 0.6 * np.sin(angle - 1.0) + 0.2 * np.cos(0.25 * angle)
    vibration = 0.4 * np.abs(np.sin(angle)) + 0.1 * np.sin(3.0 * angle)
    readings = np.stack([pressure, temperature, vibration], axis=1)
    return np.asarray(readings + 0.05 * rng.standard_normal(readings.shape))
