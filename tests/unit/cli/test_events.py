"""The parser of event streams, clause by clause (WHATWG HTML, section 9.2, "Server-sent events")."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.cli.events import Parser, ServerSentEvent


def events(*chunks: bytes) -> list[ServerSentEvent]:
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def data(*chunks: bytes) -> list[str]:
    return [event.data for event in events(*chunks)]


def test_one_event() -> None:
    """ "If the line is empty: Dispatch the event"."""
    assert events(b"data: hello\n\n") == [ServerSentEvent("message", "hello", "")]


def test_multiple_data_lines() -> None:
    """ "Append the field value to the data buffer, then append a single U+000A LINE FEED"; the last is removed."""
    assert data(b"data: YHOO\ndata: +2\ndata: 10\n\n") == ["YHOO\n+2\n10"]


def test_the_specification_s_second_example() -> None:
    """A comment first, an id that stays, an id that is set back, and a space that belongs to the data."""
    said = events(
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    )
    assert said == [
        ServerSentEvent("message", "first event", "1"),
        ServerSentEvent("message", "second event", ""),
        ServerSentEvent("message", " third event", ""),
    ]


def test_the_specification_s_third_example() -> None:
    """An empty data field makes an event; "the last block is discarded because it is not followed by a blank line"."""
    assert data(b"data\n\ndata\ndata\n\ndata:") == ["", "\n"]


def test_the_specification_s_fourth_example() -> None:
    """ "the space after the colon is ignored if present"."""
    assert data(b"data:test\n\ndata: test\n\n") == ["test", "test"]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_line_ends(end: bytes) -> None:
    """ "Lines must be separated by either a CRLF pair, a single LF, or a single CR"."""
    assert data(end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])) == ["a\nb", "c"]


def test_line_end_between_two_pieces() -> None:
    """A CRLF pair that the network has parted is still one line end."""
    assert data(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == ["a\nb"]


def test_byte_order_mark() -> None:
    """ "strip one leading U+FEFF BYTE ORDER MARK, if any"; a second one makes the field unknown."""
    assert data(b"\xef\xbb\xbfdata: a\n\n") == ["a"]
    assert data(b"\xef", b"\xbb\xbfdata: a\n\n") == ["a"]
    assert data(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n") == []


def test_bytes_that_are_no_utf_8() -> None:
    """ "decoded using the UTF-8 decode algorithm", which replaces what it cannot read."""
    assert data(b"data: a\xffb\n\n") == ["a�b"]


def test_comments_and_unknown_fields() -> None:
    """ "If the line starts with a U+003A COLON: Ignore the line"; other names: "The field is ignored"."""
    assert data(b": heartbeat\n\nwhatever: 1\nDATA: no\ndata: a\n:data: b\n\n") == ["a"]


def test_event_type_is_for_one_event() -> None:
    """ "Set the data buffer and the event type buffer to the empty string" after each dispatch."""
    said = events(b"event: add\ndata: 1\n\ndata: 2\n\nevent: gone\n\ndata: 3\n\n")
    assert [event.type for event in said] == ["add", "message", "message"]


def test_id_with_null_is_ignored() -> None:
    """ "If the field value does not contain U+0000 NULL, then set the last event ID buffer"."""
    assert [event.id for event in events(b"id: 7\ndata: a\n\nid: 8\x00\ndata: b\n\n")] == ["7", "7"]


def test_retry() -> None:
    """ "If the field value consists of only ASCII digits, then interpret it as an integer in base ten"."""
    parser = Parser()
    assert parser.retry is None
    assert not list(parser.feed(b"retry: 1500\n\nretry: 2s\n\nretry: \n\n"))
    assert parser.retry == 1500


@given(st.lists(st.sampled_from(["data: é日", "data", ": c", "id: 1", "event: e", "", "\r", "x"])), st.data())
def test_pieces_do_not_matter(lines: list[str], choice: st.DataObject) -> None:
    """However the network parts the bytes, the events are the same."""
    whole = "\n".join(lines).encode()
    cuts = sorted(choice.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert events(*pieces) == events(whole)
