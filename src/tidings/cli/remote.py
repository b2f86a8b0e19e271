"""A running server as commands meet it: its REST API, as one user, with failures told as ends of a command."""

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Self
from urllib.parse import quote, urlencode

import typer

from tidings.cli import configuration, output
from tidings.cli.exits import Exit, Failure, by_status
from tidings.domain import strictjson

if TYPE_CHECKING:
    # httpx takes long to import, and commands that work on the database never need it.
    import httpx

_PAGE = 100
_SECONDS_GIVEN = re.compile(r"[0-9]{1,6}")
_SECONDS = 10.0
_SILENT_SECONDS = 60.0
"""A stream that says nothing for so long is dead: the server's heartbeat is every 15 s."""

Url = Annotated[str | None, typer.Option(help="The server; default: where the settings say it listens.")]
Token = Annotated[
    str | None, typer.Option(envvar="TIDINGS_TOKEN", help="The credential; default: one is signed for --as.")
]
AsUser = Annotated[
    str | None, typer.Option("--as", metavar="EMAIL_OR_ID", help="Who to be, with the configured secret.")
]


class Remote:
    """The API at ``url`` as the user of ``token``, which is asked for at each request: it may be a fresh one.

    Raises, in all that it does:
        Failure: by the status of the answer; UNAVAILABLE when there is none.
    """

    def __init__(self, url: str, token: Callable[[], str]) -> None:
        import httpx

        self._token = token
        self._url = url
        self._client = httpx.Client(base_url=url, timeout=_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """The resource at a path. What is None is not asked for."""
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        with self._asking("GET", f"{path}?{asked}" if asked else path, {}) as answer:
            return _object(answer.read(), answer.status_code)

    def items(self, path: str, limit: int, **query: object) -> Iterator[dict[str, Any]]:
        """The first ``limit`` items of a list, fetched page by page as they are read."""
        cursor: object = None
        while limit > 0:
            page = self.get(path, **query, limit=min(limit, _PAGE), cursor=cursor)
            items, cursor = page.get("items", ()), page.get("nextCursor")
            yield from items
            limit -= len(items)
            if not items or cursor is None:
                return

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """The resource that the server answers with."""
        with self._asking(
            "POST", path, {"Content-Type": "application/json"}, strictjson.dumps(body)
        ) as answer:
            return _object(answer.read(), answer.status_code)

    @contextmanager
    def stream(self, path: str, last_event_id: str) -> Iterator["httpx.Response"]:
        """An open event stream, whose bytes are read by the caller, within the block."""
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        with self._asking("GET", path, headers, silence=_SILENT_SECONDS) as answer:
            yield answer

    @contextmanager
    def _asking(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        silence: float = _SECONDS,
    ) -> Iterator["httpx.Response"]:
        import httpx

        headers = {**headers, "Authorization": f"Bearer {self._token()}"}
        timeout = httpx.Timeout(_SECONDS, read=silence)
        try:
            with self._client.stream(method, path, headers=headers, content=body, timeout=timeout) as answer:
                if answer.is_error:
                    raise _refused(answer)
                yield answer
        except (httpx.TransportError, httpx.InvalidURL) as fault:
            reason = str(fault) or type(fault).__name__
            raise Failure(Exit.UNAVAILABLE, f"no answer from {self._url}: {reason}") from None


def connect(url: Url = None, token: Token = None, as_user: AsUser = None) -> Remote:
    """The server that the options mean. The settings are read only for what the options leave open.

    Raises:
        Failure: USAGE, there is no credential; CONFIG; what looking the user up raises.
    """
    if token is not None:
        given = token
        return Remote(url or configuration.address(configuration.load()), lambda: given)
    if as_user is None:
        raise Failure(Exit.USAGE, "say who you are: --as EMAIL_OR_ID, --token TOKEN or TIDINGS_TOKEN")
    # Only here the database and what signs are needed, which take long to import.
    from tidings.cli import people
    from tidings.cli.tokens import HOUR, sign

    settings = configuration.load()
    user = people.look_up(settings, as_user)
    return Remote(url or configuration.address(settings), lambda: sign(settings, user.id, ttl=HOUR))


def at_server(function: Callable[Concatenate[Remote, ...], None]) -> Callable[..., None]:
    """A command that is handed the server meant by ``connect``'s options, which it gets besides its own."""

    @functools.wraps(function)
    def command(**given: Any) -> None:
        ours = {name: given.pop(name) for name in options}
        with connect(**ours) as remote:
            function(remote, **given)

    options = inspect.signature(connect).parameters
    _, *own = inspect.signature(function).parameters.values()
    shared = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in options.values()]
    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # PEP 362's hook
    return command


def segment(text: str) -> str:
    """One segment of a path, whatever somebody typed."""
    return quote(text, safe="") or "-"


def _refused(answer: "httpx.Response") -> Failure:
    """A problem (RFC 9457) in words: what is wrong, field by field, and what to look for in the log."""
    status = answer.status_code
    try:
        problem = _object(answer.read(), status)
    except Failure as fault:
        return fault
    lines = [f"{problem.get('title', 'Refused')} ({problem.get('code', status)})"]
    if "detail" in problem:
        lines[0] += f": {problem['detail']}"
    lines += [
        f"  {each.get('field') or 'input'}: {each.get('message')}" for each in problem.get("errors", ())
    ]
    if "requestId" in problem:
        lines.append(f"  requestId: {problem['requestId']}")
    wait = answer.headers.get("Retry-After", "")
    return Failure(
        by_status(status),
        "\n".join(output.plain(line) for line in lines),
        retry_after=float(wait) if _SECONDS_GIVEN.fullmatch(wait) else None,
    )


def _object(body: bytes, status: int) -> dict[str, Any]:
    try:
        value = strictjson.loads(body)
    except strictjson.MalformedJson:
        value = None
    if not isinstance(value, dict):
        raise Failure(Exit.PROTOCOL, f"the answer, with status {status}, is not one of a Tidings server")
    return value
