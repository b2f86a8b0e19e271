"""Which children a run of a parent has asked for."""

from typing import Any

import pytest

from tidings.jobs.children import DEEPEST, MOST_CHILDREN, NOTHING, Children, Known, Memory, label_of


def keys(children: Children, *payloads: dict[str, Any]) -> list[str]:
    return [children.ask("kind", payload, 1.0, None).key for payload in payloads]


def test_the_same_children_again() -> None:
    """Place, kind and payload make a child the same, whatever the order of its fields."""
    first = keys(Children(NOTHING), {"a": 1, "b": 2}, {"a": 1, "b": 2})
    assert first == keys(Children(NOTHING), {"b": 2, "a": 1}, {"b": 2, "a": 1})
    assert len(set(first)) == 2


def test_names_stand_for_places() -> None:
    """A named child is the same wherever it is asked for."""
    one, other = Children(NOTHING), Children(NOTHING)
    other.ask("kind", {}, 1.0, None)
    assert one.ask("kind", {}, 1.0, "me").key == other.ask("kind", {}, 1.0, "me").key


def test_labels() -> None:
    """A child is called by its name, or else by its kind."""
    children = Children(NOTHING)
    named, unnamed = children.ask("a.kind", {}, 1.0, "a name"), children.ask("a.kind", {}, 1.0, None)
    assert [named.label, unnamed.label] == ["a name", "a.kind"]
    assert [label_of(each.key, "a.kind") for each in (named, unnamed)] == ["a name", "a.kind"]


def test_what_is_known_is_not_wished_for() -> None:
    """Only what is missing is to be made."""
    (first, _) = keys(Children(NOTHING), {"n": 1}, {"n": 2})
    known = Known(first, "job", over=True, succeeded=True)
    children = Children(Memory((known,)))
    asked = [children.ask("kind", {"n": n}, 1.0, None) for n in (1, 2)]
    assert [children.known(each) for each in asked] == [known, None]
    assert [wish.payload for wish in children.wishes] == [{"n": 2}]


@pytest.mark.parametrize("resumed", [True, False])
def test_another_child_in_the_same_place(*, resumed: bool) -> None:
    """After a wait that is a mistake, and said; a new attempt, of changed code perhaps, may ask for what it likes."""
    (key,) = keys(Children(NOTHING), {"n": 1})
    children = Children(Memory((Known(key, "job", over=True, succeeded=True),), resumed=resumed))
    if resumed:
        with pytest.raises(ValueError, match="another kind or payload"):
            children.ask("kind", {"n": 2}, 1.0, None)
    else:
        children.ask("kind", {"n": 2}, 1.0, None)
        assert len(children.wishes) == 1


def test_memories_travel() -> None:
    """What a job knows goes to its process as JSON, and arrives as it was."""
    memory = Memory(
        (Known("a:b", "job", over=True, succeeded=False, code="C", message="m"),), resumed=True, depth=2
    )
    assert Memory.of_json(memory.to_json()) == memory


@pytest.mark.parametrize(
    ("weight", "name", "text"),
    [
        (0.0, None, "weight"),
        (float("nan"), None, "weight"),
        (float("inf"), None, "weight"),
        (1.0, "", "name"),
    ],
)
def test_what_cannot_be_asked_for(weight: float, name: str | None, text: str) -> None:
    """A mistake is found where it is made."""
    with pytest.raises(ValueError, match=text):
        Children(NOTHING).ask("kind", {}, weight, name)


def test_twice_the_same_name() -> None:
    """A name is one child's."""
    children = Children(NOTHING)
    children.ask("kind", {}, 1.0, "me")
    with pytest.raises(ValueError, match="two children"):
        children.ask("other", {}, 1.0, "me")


def test_a_payload_that_is_no_json() -> None:
    """It could not be stored."""
    with pytest.raises(TypeError):
        Children(NOTHING).ask("kind", {"what": {1, 2}}, 1.0, None)


def test_too_many() -> None:
    """At most 1,000 children per parent, those of earlier attempts among them."""
    children = Children(Memory((Known("old:1", "job", over=True, succeeded=True),)))
    for _ in range(MOST_CHILDREN - 1):
        children.ask("kind", {}, 1.0, None)
    with pytest.raises(ValueError, match="at most"):
        children.ask("kind", {}, 1.0, None)


def test_too_deep() -> None:
    """Five generations, and no more."""
    Children(Memory(depth=DEEPEST - 1)).ask("kind", {}, 1.0, None)
    with pytest.raises(ValueError, match="generations"):
        Children(Memory(depth=DEEPEST)).ask("kind", {}, 1.0, None)


def test_a_payload_that_is_nested_too_deep() -> None:
    """What no user could hand in, and no page of jobs could show, no job hands in either."""
    payload: dict[str, Any] = {}
    for _ in range(31):
        payload = {"a": payload}
    Children(NOTHING).ask("kind", payload, 1.0, None)
    with pytest.raises(ValueError, match="deep"):
        Children(NOTHING).ask("kind", {"a": payload}, 1.0, None)
