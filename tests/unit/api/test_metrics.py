"""``/metrics``."""

import re

from tests.support.services import Rig, serving

TOKEN = "metrics-token-of-the-operator"


async def test_metrics_are_prometheus_text(rig: Rig) -> None:
    """Where they are open, without any credential."""
    await rig.client.get("/healthz")
    answer = await rig.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'tidings_http_requests_total{method="GET",route="/healthz",status="200"}' in answer.text


async def test_without_the_token_there_is_nothing(sqlite_url: str) -> None:
    """404, as for a path that does not exist, for no token, a wrong one, or a user's."""
    async with serving(sqlite_url, metrics_open=False, metrics_token=TOKEN) as rig:
        nowhere = await rig.client.get("/nowhere")
        refused: list[list[tuple[str, str]]] = [
            [],
            [("Authorization", "Bearer wrong")],
            [("Authorization", TOKEN)],
            [("Authorization", f"Basic {TOKEN}")],
            [("Authorization", "Bearer ")],
            [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")],
            [("Authorization", f"Bearer {rig.token('root')}")],
            [("Cookie", f"tidings={TOKEN}")],
        ]
        for headers in refused:
            answer = await rig.client.get("/metrics", headers=headers)
            assert answer.status_code == 404, headers
            assert _without_id(answer.text) == _without_id(nowhere.text)
        assert (await rig.client.get(f"/metrics?token={TOKEN}")).status_code == 404
        good = await rig.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert good.status_code == 200


async def test_no_token_is_no_empty_token(sqlite_url: str) -> None:
    """Where none is set, none opens."""
    for number, token in enumerate((None, "")):
        async with serving(f"{sqlite_url}{number}", metrics_open=False, metrics_token=token) as rig:
            for value in ("Bearer ", "Bearer None", ""):
                answer = await rig.client.get("/metrics", headers={"Authorization": value})
                assert answer.status_code == 404


def _without_id(body: str) -> str:
    return re.sub('"requestId":"[^"]+"', "", body)
