"""Notices that the wall clock was set back, as NTP or an admin may do."""

import time
from collections.abc import Callable

_LEAST_STEP_S = 1.0


class ClockWatch:
    """Compares the wall clock with the monotonic one, which nobody can set.

    Parameters
    ----------
    wall, monotonic : callable, optional
        The clocks, in seconds.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lead_s = wall() - monotonic()

    def set_back_s(self) -> float:
        """Seconds by which the wall clock was set back since `accept`; 0 for less than one."""
        lead_s = self._wall() - self._monotonic()
        self._lead_s = max(lead_s, self._lead_s)  # the clock may be set forward before
        step_s = self._lead_s - lead_s
        return step_s if step_s >= _LEAST_STEP_S else 0.0

    def accept(self) -> None:
        """Take the clock as it is now: what followed from the step was put right."""
        self._lead_s = self._wall() - self._monotonic()
