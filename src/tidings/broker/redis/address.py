"""What a broker URL says: where Redis is, how it is arranged, and who we are to it.

::

    redis://[user:password@]host[:port][/database]              rediss:// the same over TLS
    redis+cluster://[user:password@]host:port[,host:port...]
    redis+sentinel://[user:password@]host:port[,...]/master[/database]

with ``?tls=true`` (cluster, sentinel), ``?ca=FILE`` for a certificate authority of one's own, and
``?sentinel_user=`` and ``?sentinel_password=`` where the sentinels ask for another login than Redis.

It opens nothing, and no message of its errors repeats a password.
"""

import re
import ssl
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:,/@]+)(?::([0-9]{1,5}))?")
_MAX_PORT = 65_535
_OPTIONS = frozenset({"tls", "ca", "sentinel_user", "sentinel_password"})


class Arrangement(Enum):
    """How many servers there are, and who knows which one leads; with the port that is meant when none is given."""

    STANDALONE = 6379
    SENTINEL = 26379
    CLUSTER = 7000


_SCHEMES = {
    "redis": Arrangement.STANDALONE,
    "rediss": Arrangement.STANDALONE,
    "redis+cluster": Arrangement.CLUSTER,
    "redis+sentinel": Arrangement.SENTINEL,
}


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are; without a password nobody is asked."""

    user: str = "default"
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """Everything a URL says. ``master`` is the name that sentinels know the leading server by."""

    arrangement: Arrangement
    addresses: tuple[Address, ...]
    login: Login
    database: int = 0
    master: str = ""
    sentinel_login: Login = Login()
    tls: ssl.SSLContext | None = None


def parse(url: str) -> Target:
    """Read a broker URL.

    Raises:
        ValueError: it is none; the message names the fault.
        OSError: the file of the certificate authority cannot be read.
    """
    parts = urlsplit(url)
    arrangement = _SCHEMES.get(parts.scheme)
    if arrangement is None:
        raise ValueError(f"not a scheme of Redis: {parts.scheme}")
    credentials, _, hosts = parts.netloc.rpartition("@")
    options = _options(parts)
    master, database = _path(parts.path, arrangement)
    return Target(
        arrangement,
        tuple(_address(host, arrangement) for host in hosts.split(",")),
        _login(credentials),
        database,
        master,
        Login(options.get("sentinel_user", "default"), options.get("sentinel_password", "")),
        _tls(parts.scheme, options),
    )


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query))
    unknown = options.keys() - _OPTIONS
    if unknown:
        raise ValueError(f"unknown option: {', '.join(sorted(unknown))}")
    return options


def _tls(scheme: str, options: dict[str, str]) -> ssl.SSLContext | None:
    if scheme != "rediss" and options.get("tls", "false") != "true":
        return None
    return ssl.create_default_context(cafile=options.get("ca"))


def _login(credentials: str) -> Login:
    user, _, password = credentials.partition(":")
    return Login(unquote(user) or "default", unquote(password))


def _address(text: str, arrangement: Arrangement) -> Address:
    match = _HOST.fullmatch(text)
    if match is None:
        raise ValueError("not host:port")
    host, port = match.groups()
    number = arrangement.value if port is None else int(port)
    if not 0 < number <= _MAX_PORT:
        raise ValueError("no such port")
    return Address(host.strip("[]"), number)


def _path(path: str, arrangement: Arrangement) -> tuple[str, int]:
    """The master's name and the database's number."""
    parts = [unquote(part) for part in path.split("/") if part]
    master = ""
    if arrangement is Arrangement.SENTINEL:
        if not parts:
            raise ValueError("redis+sentinel:// needs the master's name as its path")
        master = parts.pop(0)
    if len(parts) > 1 or any(not part.isdecimal() for part in parts):
        raise ValueError("the path is the number of a database")
    database = int(parts[0]) if parts else 0
    if database and arrangement is Arrangement.CLUSTER:
        raise ValueError("a cluster has database 0 alone")
    return master, database
