"""What is measured, and what is shown."""

from bench.nodes.figures import ROWS, CrowdFigures, Figures, ForeignFigures


def test_every_figure_is_shown() -> None:
    """A row for each, and in the order in which a trial has them."""
    fields = [name for figures in (Figures, CrowdFigures, ForeignFigures) for name in figures.__annotations__]
    assert [row.field for row in ROWS] == fields
