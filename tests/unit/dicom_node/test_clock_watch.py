from dataclasses import dataclass

from dicom_node.clock import ClockWatch


@dataclass
class Clocks:
    wall_s: float = 1_000_000.0
    monotonic_s: float = 50.0

    def go(self, seconds: float, step_s: float = 0.0) -> None:
        self.wall_s += seconds + step_s
        self.monotonic_s += seconds

    def watch(self) -> ClockWatch:
        return ClockWatch(lambda: self.wall_s, lambda: self.monotonic_s)


def test_a_clock_that_goes_on_was_not_set_back() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    for step_s in (0.0, -0.4, +0.4, 3600.0):
        clocks.go(10, step_s)
        assert watch.set_back_s() == 0


def test_a_step_back_is_told_until_it_is_accepted() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    clocks.go(0.5, -3600)
    for _ in range(2):
        assert watch.set_back_s() == 3600
        clocks.go(1)
    watch.accept()
    assert watch.set_back_s() == 0


def test_a_wrong_step_forward_that_is_taken_back_counts() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    clocks.go(1, 3600)
    assert watch.set_back_s() == 0
    clocks.go(1, -3600)
    assert watch.set_back_s() == 3600
