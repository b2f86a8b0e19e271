"""What pool and children say to each other, in bytes and back."""

from hypothesis import given
from hypothesis import strategies as st

from tidings.jobs.children import NOTHING, Wish
from tidings.jobs.context import Stop
from tidings.jobs.outcome import Done, Failed, Stopped, Waits
from tidings.jobs.pipe import (
    Attach,
    Attached,
    Frames,
    Line,
    Message,
    Ready,
    Report,
    Run,
    Setup,
    StopNow,
    encode,
)

MESSAGES: list[Message] = [
    Setup(["/a", ""], 20, ["tests.support.job_kinds"], "/tmp/x"),
    Run("id", "kind", 1, "module:name", {"deep": [{"ü": None}], "big": 2**53}, NOTHING.to_json()),
    StopNow(Stop.CANCELLED),
    Attach("a.wav", "/tmp/x/y", "audio/wav"),
    Attached("TOO_LARGE", "too large", retry=False),
    Waits((Wish("#0:abc", "kind", {"a": [1]}, 2.0),), 0.5),
    Ready(),
    Report(0.5, None, "stage"),
    Line(30, "logger", "event", {"a": 1}),
    Done({"x": "y" * 100_000}),
    Failed("CODE", "message", retry=False, detail="trace"),
    Stopped(),
]


@given(st.lists(st.integers(1, 5000), max_size=50))
def test_messages_survive_any_cut(cuts: list[int]) -> None:
    """However the stream is cut into pieces, what comes out is what went in, in that order."""
    stream = b"".join(map(encode, MESSAGES))
    frames, heard, begin = Frames(), list[Message](), 0
    for length in (*cuts, len(stream)):
        heard += frames.feed(stream[begin : begin + length])
        begin += length
    assert heard == MESSAGES


def test_log_lines_take_anything() -> None:
    """A value that JSON does not know is no reason to lose a line of the log."""
    [line] = Frames().feed(encode(Line(20, "logger", "event", {"what": {1, 2}})))
    assert line == Line(20, "logger", "event", {"what": "{1, 2}"})
