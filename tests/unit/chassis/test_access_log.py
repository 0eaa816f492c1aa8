from tieline.chassis.interceptors.access_log import MAX_FAULT_LINES_PER_S, FaultLines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_about_faults_are_bounded_within_a_second() -> None:
    lines = FaultLines(Clock())

    claims = [lines.claim() for _ in range(MAX_FAULT_LINES_PER_S + 5)]

    assert claims == [0] * MAX_FAULT_LINES_PER_S + [None] * 5


def test_the_next_second_tells_how_many_were_left_out_once() -> None:
    clock = Clock()
    lines = FaultLines(clock)
    for _ in range(MAX_FAULT_LINES_PER_S + 5):
        lines.claim()

    clock.now += 1

    assert [lines.claim(), lines.claim()] == [5, 0]
