"""The operations of administrators, as the documentation tells of them; a page of ``catalogue``."""

from tidings.api.admin_forms import ListSecurityEvents, PutTenant, PutUser, RevokeTokens
from tidings.api.operation import Operation, Success
from tidings.domain.errors import ErrorCode

TAG = "Administration"
ABOUT = (
    "For an `ADMIN`, who acts on the users, tokens and security events of the own tenant and cannot make or touch "
    "a `SUPER_ADMIN`, and for a `SUPER_ADMIN`, who acts on all of them and on tenants, nodes and metrics."
)

_SUPER = "For a `SUPER_ADMIN`."
_ONE = (ErrorCode.NOT_FOUND,)

PUT_TENANT = Operation(
    "putTenant",
    "PUT",
    "/admin/tenants/{idOrSlug}",
    TAG,
    "Make, rename, suspend or reactivate a tenant",
    (
        Success(200, "The tenant as it is now", "Tenant"),
        Success(201, "The tenant, which is new", "Tenant"),
    ),
    f"{_SUPER} A new tenant gets what it was asked for by as its slug, and as its id if it is one. The "
    "connections of a suspended tenant's users end on every node within a second, and their tokens are refused.",
    body=PutTenant,
    example={"name": "Acme", "status": "active"},
    errors=_ONE,
)
PUT_USER = Operation(
    "putUser",
    "PUT",
    "/admin/users/{id}",
    TAG,
    "Make a user, or change one",
    (Success(200, "The user as they are now", "User"), Success(201, "The user, who is new", "User")),
    "A new user's id is the caller's to choose, if it is a UUIDv7. Live connections take a new role over within a "
    "second; they end when the user is inactive or of another tenant from now on. An address is one user's in a "
    "tenant.",
    body=PutUser,
    example={
        "email": "ann@acme.example",
        "name": "Ann",
        "tenantId": "019c13f2-3e80-7b52-9e3c-604d70ab2c3d",
        "role": "USER",
        "active": True,
    },
    errors=(ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
)
DEACTIVATE_USER = Operation(
    "deactivateUser",
    "POST",
    "/admin/users/{id}/deactivate",
    TAG,
    "Keep a user out",
    (Success(200, "The user, inactive", "User"),),
    "Their connections end on every node within a second, and their tokens are refused until they are active again.",
    errors=_ONE,
)
DISCONNECT_USER = Operation(
    "disconnectUser",
    "POST",
    "/admin/users/{id}/disconnect",
    TAG,
    "End a user's connections and streams",
    (Success(204, "They end, on every node, within a second"),),
    "The user may come back at once.",
    errors=_ONE,
)
REVOKE_TOKENS = Operation(
    "revokeTokens",
    "POST",
    "/admin/tokens/revoke",
    TAG,
    "Revoke one token, or all of a user's",
    (Success(204, "They are refused, and what lives by them ends on every node within a second"),),
    "`jti` names one token; of an `ADMIN` it is revoked if it is of the own tenant. `userId` stands for all of "
    "that user's issued before `issuedBefore`, which is now if left out.",
    body=RevokeTokens,
    example={"userId": "019c13f2-3e80-7a41-8d2b-5f0c6f0a1b2c"},
    errors=_ONE,
)
LIST_SECURITY_EVENTS = Operation(
    "listSecurityEvents",
    "GET",
    "/admin/security-events",
    TAG,
    "Read the security log",
    (Success(200, "A page, the newest first", "SecurityEventList"),),
    "Of the own tenant; a `SUPER_ADMIN` reads all of it, or that of `tenantId`. `since` is inclusive, `until` is not.",
    query=ListSecurityEvents,
    errors=_ONE,
)
READ_METRICS = Operation(
    "getAdminMetrics",
    "GET",
    "/admin/metrics",
    TAG,
    "How the answering node has fared since it began",
    (Success(200, "The numbers; a rate of nothing is null", "AdminMetrics"),),
    f"{_SUPER} The same measurements as `/metrics`, summed up. Each node tells its own.",
)
LIST_NODES = Operation(
    "listNodes",
    "GET",
    "/admin/nodes",
    TAG,
    "Which nodes live, and how they fare",
    (Success(200, "All of them, the oldest first", "NodeList"),),
    f"{_SUPER} Each tells anew every 5 s; one that has been silent for 15 s is gone.",
)
DRAIN_NODE = Operation(
    "drainNode",
    "POST",
    "/admin/nodes/{id}/drain",
    TAG,
    "Have a node release its clients and end",
    (Success(202, "The node, as it last told; within a second it begins", "Node"),),
    f"{_SUPER} It does what SIGTERM makes it do. One of several worker processes is replaced when it has ended. "
    "Another time changes nothing.",
    errors=_ONE,
)

ALL = (
    PUT_TENANT,
    PUT_USER,
    DEACTIVATE_USER,
    DISCONNECT_USER,
    REVOKE_TOKENS,
    LIST_SECURITY_EVENTS,
    READ_METRICS,
    LIST_NODES,
    DRAIN_NODE,
)
