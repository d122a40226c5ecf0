"""IceBreaker's keep-alive: Fourier extrapolation of the last two hours, a minute ahead; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from simulator.arrivals import Floats
from simulator.keepalive.policy import MinuteDriven, Plans, during_next

HARMONICS = 10
"""Lowest frequencies that are kept, beside the constant (Roy et al., IceBreaker, ASPLOS'22)."""

POINTS = 120
"""Minutes of history (FeMux, EuroSys'26, drives it so)."""

WARM_ABOVE = 0.5
"""Instances that are forecast are rounded to whole ones (IceBreaker), half down: more than this is one."""


def extrapolated(history: Floats) -> Floats:
    """Forecast the next value of every row: the linear trend and the lowest harmonics of what is left of it.

    `history` is (series, points), the newest last, with two points or more; the answer is (series,).
    """
    points = history.shape[1]
    time = np.arange(points)
    centred = time - time.mean()
    # What least squares say of the slope; the line's height is the constant among the harmonics.
    slope = history @ centred / (centred @ centred)
    spectrum = np.fft.rfft(history - slope[:, None] * time, axis=1)
    spectrum[:, HARMONICS + 1 :] = 0.0
    # A sum of harmonics has the period of the history: what follows its last point is its first.
    following: Floats = np.fft.irfft(spectrum, points, axis=1)[:, 0] + slope * points
    return following


class IceBreaker(MinuteDriven):
    """Roy, Patel and Tiwari, IceBreaker (ASPLOS'22): warm in the minutes for which an instance is forecast.

    Its choice between two kinds of nodes has no counterpart here: there is one.
    """

    def __init__(self, applications: Sequence[str], *, warm_above: float = WARM_ABOVE) -> None:
        self._places = {name: place for place, name in enumerate(applications)}
        self._history = np.zeros((len(applications), 0))
        self._warm_above = warm_above

    def closed(self, minute: int, active: Collection[str]) -> Plans:
        """Take the minute in, and forecast the next one."""
        newest = np.zeros((len(self._places), 1))
        newest[[self._places[name] for name in active]] = 1.0
        self._history = np.hstack((self._history[:, 1 - POINTS :], newest))
        if self._history.shape[1] < 2:
            return {}
        # Half an instance is no more than half, whatever the last bits of its sum are.
        wanted = extrapolated(self._history).round(9) > self._warm_above
        return during_next(minute, [name for name, place in self._places.items() if wanted[place]])
