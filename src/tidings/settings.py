"""Every setting once: its type, default, limits and reason. ``docs/settings.md`` is made from this file.

Each is the environment variable ``TIDINGS_<NAME>``; a few have an older name beside it. In development a
``.env`` file is read too. The object is frozen: what a process runs with does not change while it runs.
"""

import contextlib
import ipaddress
import os
import re
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SECRET_MIN_BYTES = 32
_SECRET_MIN_DISTINCT = 8
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")
_DEVELOPMENT_ORIGINS = ("http://localhost:3000", "http://localhost:5000")
WEAK_SECRETS = frozenset({"secret", "changeme", "password", "your-secret-key", "development"})


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class Identity(StrEnum):
    DIRECTORY = "directory"
    CLAIMS = "claims"


class Algorithm(StrEnum):
    HS256 = "HS256"
    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"


def _named(name: str, *older: str) -> AliasChoices:
    return AliasChoices(f"TIDINGS_{name}", *older)


Csv = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """What a process runs with."""

    model_config = SettingsConfigDict(
        env_prefix="TIDINGS_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    env: Environment = Field(Environment.DEVELOPMENT, description="`production` refuses what is unsafe")
    debug: bool = Field(False, description="more log lines; refused in production")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least level logged")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(
        4000,
        ge=0,
        le=65535,
        validation_alias=_named("PORT", "PORT"),
        description="port; 0 takes any free one",
    )
    public_url: str = Field(
        "",
        description="the server's own address as clients see it, an allowed origin; outside production, if unset, "
        "`http://127.0.0.1` and `http://localhost` at its port are",
    )
    workers: int = Field(
        1, ge=1, le=64, description="server processes on one port; more than 1 need a Redis broker"
    )
    var: Path = Field(Path("var"), description="where the embedded database and the made secret are kept")
    trusted_proxies: Csv = Field((), description="addresses or networks whose X-Forwarded-For counts")

    database_url: str = Field(
        "",
        validation_alias=_named("DATABASE_URL", "DATABASE_URL"),
        description="`sqlite:///...` (default: under `TIDINGS_VAR`) or `postgresql://...`",
    )
    broker_url: str = Field(
        "memory://",
        validation_alias=_named("BROKER_URL", "REDIS_URL"),
        description="`memory://`, `redis://`, `rediss://`, `redis+cluster://`, `redis+sentinel://`; "
        "Redis >= 6.2 with `maxmemory-policy noeviction`",
    )

    jwt_secret: SecretStr | None = Field(
        None,
        validation_alias=_named("JWT_SECRET", "JWT_SECRET"),
        description="the HS256 secret, at least 32 bytes; in development made once and kept",
    )
    jwt_algorithm: Algorithm = Field(Algorithm.HS256, description="the one algorithm that is accepted")
    jwt_public_key: str = Field("", description="PEM, or a PEM file's path, for RS256, ES256, EdDSA")
    jwks_url: str = Field(
        "", description="where the key set (JWKS) of RS256, ES256, EdDSA is fetched; https in production"
    )
    jwt_issuer: str = Field("", description="the exact `iss` asked for; empty: not checked")
    jwt_audience: str = Field("", description="the `aud` asked for; empty: not checked")
    jwt_type: str = Field("", description="the exact `typ` of the JOSE header; empty: not checked")
    identity: Identity = Field(
        Identity.DIRECTORY, description="`directory`: users are in the database; `claims`: the token tells"
    )
    allowed_origins: Csv = Field(
        (),
        validation_alias=_named("ALLOWED_ORIGINS", "FRONTEND_URL"),
        description="origins of browsers that may connect, comma-separated, exact; no wildcard",
    )

    max_connections: int = Field(
        10_000,
        ge=1,
        validation_alias=_named("MAX_CONNECTIONS", "MAX_WEBSOCKET_CONNECTIONS"),
        description="open connections per process",
    )
    max_connections_per_user: int = Field(20, ge=1, description="open connections per user, cluster-wide")
    max_connections_per_ip: int = Field(200, ge=1, description="connections and streams per address")
    max_streams_per_user: int = Field(
        100, ge=1, description="SSE streams per user, cluster-wide; job subscriptions per socket"
    )
    max_message_bytes: int = Field(64 * 1024, ge=1024, description="largest message from a socket, bytes")
    max_body_bytes: int = Field(256 * 1024, ge=1024, description="largest HTTP body, bytes")
    max_header_bytes: int = Field(16 * 1024, ge=1024, description="request line and headers, bytes")
    max_json_depth: int = Field(32, ge=4, le=100, description="nesting of JSON")
    outbox_bytes: int = Field(1024 * 1024, ge=64 * 1024, description="unsent bytes a session may hold")
    handshake_rate: int = Field(500, ge=1, description="handshakes per second and process")
    handshake_timeout: float = Field(10, gt=0, description="seconds for a connection to say something whole")
    body_timeout: float = Field(30, gt=0, description="seconds for a request body to be complete")
    allow_eio3: bool = Field(True, description="let clients of Socket.IO 2 in (Engine.IO 3)")
    auth_timeout: float = Field(10, gt=0, description="seconds to authenticate after opening")
    ping_interval: float = Field(25, gt=0, description="seconds between pings")
    ping_timeout: float = Field(20, gt=0, description="seconds to answer a ping")
    connection_lifetime: float = Field(24 * 3600, gt=0, description="seconds a connection may live")
    heartbeat: float = Field(15, gt=0, description="seconds between SSE heartbeats")
    stream_idle_timeout: float = Field(300, gt=0, description="seconds an SSE stream may be without events")
    write_timeout: float = Field(20, gt=0, description="seconds a write may make no progress")
    rate_limit_points: int = Field(
        20,
        ge=1,
        validation_alias=_named("RATE_LIMIT_POINTS", "WS_RATE_LIMIT_POINTS"),
        description="client events a user may send in the window",
    )
    rate_limit_seconds: float = Field(
        60,
        gt=0,
        validation_alias=_named("RATE_LIMIT_SECONDS", "WS_RATE_LIMIT_DURATION"),
        description="the window in seconds",
    )
    rest_rate_per_minute: int = Field(600, ge=1, description="REST requests a minute and user")
    report_rate_per_minute: int = Field(
        600, ge=1, description="reports a minute on one external job, from whoever runs it"
    )
    console_rate_per_minute: int = Field(
        60, ge=1, description="requests a minute and address for signing in to the console"
    )
    history_events: int = Field(1000, ge=1, description="events a channel's history holds")
    history_seconds: float = Field(600, gt=0, description="seconds a channel's history holds")
    drain_seconds: float = Field(10, ge=0, le=25, description="window over which clients are released")
    job_days: int = Field(30, ge=1, description="days that jobs are kept after their end, and their files")
    audit_days: int = Field(30, ge=1, description="days that security events are kept")

    app: Csv = Field(
        (), description="modules with job kinds of one's own, comma-separated, imported at the start"
    )
    job_lease_seconds: float = Field(10, ge=1, le=600, description="seconds a worker owns a job unrenewed")
    job_concurrency: int = Field(4, ge=1, le=256, description="jobs a worker runs at once")
    job_cancel_grace: float = Field(
        5, ge=0, description="seconds a cancelled job may go on before it is killed"
    )
    job_timeout: float = Field(3600, gt=0, description="seconds one attempt may run, unless its kind says")
    artifacts_url: str = Field(
        "",
        description="where artifacts are kept: `file:///directory` (default: `artifacts` under `TIDINGS_VAR`) or "
        "`s3://bucket/prefix?endpoint=...&region=...&downloads=redirect`, with credentials from `AWS_*`; "
        "`downloads=proxy` sends them through the server",
    )
    artifact_max_bytes: int = Field(256 * 1024 * 1024, ge=1, description="largest artifact, bytes")
    artifacts_per_job: int = Field(50, ge=1, le=1000, description="artifacts one job may have")
    worker: bool | None = Field(
        None, description="run jobs inside `serve`; unset: with the memory broker only"
    )

    metrics_token: SecretStr | None = Field(
        None, description="bearer token for `/metrics` in production, and on its own port"
    )
    metrics_port: int | None = Field(None, ge=1, le=65535, description="own port for `/metrics`")

    @field_validator("allowed_origins", "trusted_proxies", "app", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network, strict=False)
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: str) -> str:
        known = {"memory", "redis", "rediss", "redis+cluster", "redis+sentinel"}
        if urlsplit(value).scheme not in known:
            raise ValueError("not one of " + ", ".join(f"{name}://" for name in sorted(known)))
        return value

    @field_validator("artifacts_url")
    @classmethod
    def _artifacts(cls, value: str) -> str:
        fault = _artifacts_fault(value) if value else None
        if fault is not None:
            raise ValueError(fault)
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"sqlite", "postgresql"}:
            raise ValueError("not sqlite:///... or postgresql://...")
        return value

    @model_validator(mode="after")
    def _sound(self) -> Self:
        faults = _faults(self)
        if self.production:
            faults += _production_faults(self)
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def production(self) -> bool:
        return self.env is Environment.PRODUCTION

    @property
    def public_https(self) -> bool:
        """Whether clients reach the server by https."""
        return self.public_url.startswith("https://")

    @property
    def database(self) -> str:
        """The database's address, the embedded one when none is set."""
        return self.database_url or f"sqlite:///{self.var / 'tidings.db'}"

    @property
    def embedded_broker(self) -> bool:
        return self.broker_url.startswith("memory:")

    @property
    def origins(self) -> frozenset[str]:
        """Every allowed origin."""
        local = set() if self.production else {*_DEVELOPMENT_ORIGINS}
        return frozenset({*self.allowed_origins, *self.own_origins, *local})

    @property
    def own_origins(self) -> frozenset[str]:
        """The server's own addresses. One that takes any free port does not know them."""
        if self.public_url:
            return frozenset({self.public_url})
        if self.production or not self.port:
            return frozenset()
        return frozenset(f"http://{host}:{self.port}" for host in ("127.0.0.1", "localhost"))

    @property
    def runs_jobs(self) -> bool:
        """Whether ``serve`` runs jobs itself."""
        return self.embedded_broker if self.worker is None else self.worker


def jwt_secret(settings: Settings) -> str:
    """The HS256 secret: the configured one or, outside production, one that is made once and kept."""
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    path = settings.var / "jwt-secret"
    settings.var.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text()


def _faults(settings: Settings) -> list[str]:
    faults = [
        f"TIDINGS_ALLOWED_ORIGINS: {fault}"
        for fault in dict.fromkeys(_origin_fault(origin) for origin in settings.allowed_origins)
        if fault
    ]
    if settings.public_url and _ORIGIN.fullmatch(settings.public_url) is None:
        faults.append("TIDINGS_PUBLIC_URL: is scheme://host[:port], lower case, without a path")
    if settings.workers > 1 and settings.embedded_broker:
        faults.append("TIDINGS_WORKERS: more than one process needs a Redis broker (TIDINGS_BROKER_URL)")
    faults += _key_faults(settings)
    if (
        settings.jwt_secret is not None
        and len(settings.jwt_secret.get_secret_value().encode()) < SECRET_MIN_BYTES
    ):
        faults.append(f"TIDINGS_JWT_SECRET: shorter than {SECRET_MIN_BYTES} bytes")
    return faults


def _key_faults(settings: Settings) -> list[str]:
    faults = []
    if settings.jwt_algorithm is Algorithm.HS256:
        if settings.jwks_url:
            faults.append("TIDINGS_JWKS_URL: TIDINGS_JWT_ALGORITHM is to be RS256, ES256 or EdDSA with it")
    elif bool(settings.jwt_public_key) is bool(settings.jwks_url):
        faults.append("TIDINGS_JWT_ALGORITHM: needs either TIDINGS_JWT_PUBLIC_KEY or TIDINGS_JWKS_URL")
    address = urlsplit(settings.jwks_url)
    if settings.jwks_url and (address.scheme not in {"http", "https"} or not address.hostname):
        faults.append("TIDINGS_JWKS_URL: not https://...")
    elif settings.production and address.scheme == "http":
        faults.append("TIDINGS_JWKS_URL: only https in production")
    return faults


def _origin_fault(origin: str) -> str | None:
    if "*" in origin:
        return "a wildcard is no origin: name each one"
    if _ORIGIN.fullmatch(origin) is None:
        return "an origin is scheme://host[:port], lower case, without a path"
    return None


def _artifacts_fault(url: str) -> str | None:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return None if not parts.netloc and parts.path.startswith("/") else "not file:///directory"
    if parts.scheme != "s3" or not parts.hostname:
        return "neither file:///directory nor s3://bucket/prefix"
    if parts.username or parts.password:
        return "credentials do not belong here: they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    options = parse_qs(parts.query, keep_blank_values=True)
    if options.keys() - {"endpoint", "region", "downloads"}:
        return "an unknown option"
    if options.get("downloads", ["redirect"])[-1] not in {"redirect", "proxy"}:
        return "downloads are redirect or proxy"
    return None


def _production_faults(settings: Settings) -> list[str]:
    faults = []
    if settings.jwt_algorithm is Algorithm.HS256:
        faults += _secret_faults(settings.jwt_secret)
    insecure = [
        o for o in (*settings.allowed_origins, settings.public_url) if o and not o.startswith("https://")
    ]
    if insecure:
        faults.append("TIDINGS_ALLOWED_ORIGINS, TIDINGS_PUBLIC_URL: only https origins in production")
    if settings.debug:
        faults.append("TIDINGS_DEBUG: off in production")
    if settings.workers > 1 and settings.database.startswith("sqlite"):
        faults.append("TIDINGS_DATABASE_URL: SQLite serves one process; more need PostgreSQL")
    return faults


def _secret_faults(secret: SecretStr | None) -> list[str]:
    if secret is None:
        return ["TIDINGS_JWT_SECRET: not set"]
    text = secret.get_secret_value()
    if len(text.encode()) < SECRET_MIN_BYTES:
        return [f"TIDINGS_JWT_SECRET: shorter than {SECRET_MIN_BYTES} bytes"]
    if len(set(text)) < _SECRET_MIN_DISTINCT or any(weak in text.lower() for weak in WEAK_SECRETS):
        return ["TIDINGS_JWT_SECRET: too weak: use at least 32 random bytes"]
    return []


def load(**given: Any) -> Settings:
    """The settings from the environment, and ``.env`` outside production; ``given`` wins.

    Raises:
        pydantic.ValidationError: naming each fault.
    """
    production = str(given.get("env") or os.environ.get("TIDINGS_ENV", "")) == Environment.PRODUCTION
    return Settings(_env_file=None if production else ".env", **given)
