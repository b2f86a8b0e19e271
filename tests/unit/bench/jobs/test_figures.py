"""What is made of what was measured."""

from bench.jobs.figures import percentiles


def test_percentiles() -> None:
    """The middle, and what one in a hundred is above."""
    assert percentiles([float(number) for number in range(101)]) == (50.0, 99.0)
    assert percentiles([7.0, 7.0]) == (7.0, 7.0)
