"""The bounded memory."""

from tidings.identity.lru import Lru


def test_what_was_used_longest_ago_goes_first() -> None:
    """A value that was asked for outlives one that was not."""
    memory: Lru[str, int] = Lru(2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert [memory.get(key) for key in "abc"] == [1, None, 3]
    assert len(memory) == 2


def test_putting_again_replaces_and_counts_as_use() -> None:
    """The same key is one entry, and the freshest."""
    memory: Lru[str, int] = Lru(2)
    memory.put("a", 1)
    memory.put("b", 2)
    memory.put("a", 3)
    memory.put("c", 4)
    assert [memory.get(key) for key in "abc"] == [3, None, 4]
