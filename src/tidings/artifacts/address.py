"""From ``TIDINGS_ARTIFACTS_URL`` to a storage. ``file:///directory``, or
``s3://bucket/prefix?endpoint=https://...&region=...&downloads=redirect``.
"""

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tidings.artifacts.base import Storage
from tidings.artifacts.local import LocalStorage


def storage_at(url: str, default: Path) -> Storage:
    """The storage at an address that the settings found well-formed; without one, the directory ``default``.

    Raises:
        ValueError: S3 needs the extra ``tidings[s3]``, and it is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3":
        return LocalStorage(Path(unquote(parts.path)) if url else default)
    try:
        from tidings.artifacts.s3 import Bucket, S3Storage
    except ImportError as fault:
        raise ValueError("TIDINGS_ARTIFACTS_URL: s3:// needs the extra tidings[s3]") from fault
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return S3Storage(
        Bucket(
            parts.netloc,
            prefix=unquote(parts.path).strip("/"),
            endpoint=options.get("endpoint", ""),
            region=options.get("region", ""),
            redirect=options.get("downloads") != "proxy",
        )
    )
