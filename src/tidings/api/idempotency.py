"""``Idempotency-Key``: a creating POST that is repeated with the same key is answered as the first time."""

import re

from starlette.requests import Request

from tidings.api.services import Once
from tidings.delivery.once import KEY_MAX, Act, Asked
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.people import Principal
from tidings.identity.peer import values

HEADER = "Idempotency-Key"

_KEY = re.compile(rf"[\x20-\x7e]{{1,{KEY_MAX}}}")


async def create_once(
    once: Once, principal: Principal, request: Request, body: bytes, act: Act
) -> tuple[int, bytes]:
    """Run ``act`` unless this user has sent this key to this route before; the status and body to answer.

    ``once`` is the one of the services that suits ``act``.

    Raises:
        TidingsError: VALIDATION_FAILED for a key that is none, CONFLICT for a used one with another body, and
            what ``act`` raises.
    """
    route = f"{request.method} {request.scope['route'].path}"
    return await once(Asked(principal, route, key_of(request), body), act)


def key_of(request: Request) -> str | None:
    """The key: 1 to 255 printable ASCII characters.

    Raises:
        TidingsError: VALIDATION_FAILED.
    """
    keys = values(request.scope["headers"], b"idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or _KEY.fullmatch(keys[0]) is None:
        fault = FieldError(HEADER, f"is not 1 to {KEY_MAX} printable ASCII characters")
        raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=(fault,))
    return keys[0]
