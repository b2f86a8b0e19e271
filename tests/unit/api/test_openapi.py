"""The OpenAPI document: it tells of everything that is served, and truly."""

from typing import Any

import pytest
from starlette.routing import Route

from tests.support.services import Rig
from tidings.api import catalogue
from tidings.api.app import operations
from tidings.api.openapi import document
from tidings.api.schemas import EXAMPLES, SCHEMAS

ELSEWHERE = {"watchJob", "watchInbox"}
DOCUMENT = document()


def operations_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for item in spec["paths"].values() for operation in item.values()]


async def test_it_is_served(rig: Rig) -> None:
    """As JSON, to everyone."""
    answer = await rig.client.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == DOCUMENT
    assert answer.json()["openapi"].startswith("3.1.")


async def test_what_is_served_is_described_and_the_other_way_round(rig: Rig) -> None:
    """The catalogue is what is served here, and the streams."""
    served = [operation.name for operation, _ in operations(rig.services)]
    assert len(served) == len(set(served))
    assert set(served) | ELSEWHERE == {operation.name for operation in catalogue.ALL}


def test_every_operation_is_complete() -> None:
    """A name of its own, a summary, a group that is described, its parameters, and problems for its errors."""
    found = operations_of(DOCUMENT)
    assert len({operation["operationId"] for operation in found}) == len(found) == len(catalogue.ALL)
    groups = {tag["name"] for tag in DOCUMENT["tags"]}
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            assert operation["summary"]
            assert set(operation["tags"]) <= groups
            assert {"500", "503"} <= set(operation["responses"])
            in_path = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
            assert set(in_path) == set(Route(path, list).param_convertors)


def test_credentials_are_named() -> None:
    """Everything but health and metrics takes the bearer token, and answers 401 and 429; reports take the job's."""
    public = {"getHealth", "getReadiness", "getMetrics"}
    (reports,) = (one for one in operations_of(DOCUMENT) if one["operationId"] == "reportJob")
    assert reports["security"] == [{"reporter": []}]
    for operation in operations_of(DOCUMENT):
        if operation["operationId"] in public:
            assert operation["security"] == []
        else:
            assert operation["security"][0] == {"bearer": []} or operation is reports
            assert {"401", "429"} <= set(operation["responses"])
    assert DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_every_reference_leads_somewhere() -> None:
    """No name of a component is missing, and none is there in vain."""
    used = set(references(DOCUMENT["paths"])) | set(references(DOCUMENT["components"]))
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses")
        for name in DOCUMENT["components"][kind]
    }
    assert used <= there
    assert {name for name in there - used if "/schemas/" not in name} == set()


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for part in value for found in references(part)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if "$ref" in value else []
    return own + [found for part in value.values() for found in references(part)]


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_have_the_shape_that_is_described(name: str) -> None:
    """The same fields, in the domain's order."""
    required = SCHEMAS[name]["required"]
    assert [field for field in EXAMPLES[name] if field in required] == required
    if name != "InboxEvent":
        assert set(EXAMPLES[name]) <= set(SCHEMAS[name]["properties"])


async def test_answers_have_the_shape_that_is_described(rig: Rig) -> None:
    """Real answers, field by field."""
    note, job = await rig.notified("ann"), await rig.job("ann")
    ticket = await rig.post("/tickets", "ann", {"for": "/notifications/events"})
    problem = await rig.client.get("/nowhere")
    answers: dict[str, Any] = {
        "Notification": note,
        "NotificationList": (await rig.get("/notifications", "ann")).json(),
        "Unread": (await rig.get("/notifications/unread", "ann")).json(),
        "Marked": (await rig.post("/notifications/read-all", "ann")).json(),
        "Job": job,
        "NewJob": job,
        "JobList": (await rig.get("/jobs", "ann")).json(),
        "Ticket": ticket.json(),
        "Readiness": (await rig.client.get("/readyz")).json(),
        "Problem": problem.json(),
    }
    for name, answer in answers.items():
        assert list(answer) == SCHEMAS[name]["required"], name


async def test_examples_are_accepted(rig: Rig) -> None:
    """What the documentation says one may send, one may send."""
    example = catalogue.CREATE_NOTIFICATION.example
    assert (await rig.post("/notifications", "ann", example)).status_code == 201


def test_forms_are_described_as_they_are_read() -> None:
    """Names on the wire, limits, and that unknown fields are refused."""
    form = DOCUMENT["components"]["schemas"]["CreateNotification"]
    assert form["additionalProperties"] is False
    assert form["required"] == ["title", "content"]
    assert form["properties"]["title"]["maxLength"] == 200
    assert form["properties"]["priority"]["enum"] == ["low", "medium", "high"]
    assert "userId" in form["properties"]
