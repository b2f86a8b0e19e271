"""Whether events are late on this node, as its Socket.IO clients are told in ``system:status``.

Late is what the broker cannot take or bring, and what has waited for it too long, whatever the reason. Each
change is told once. Nothing is measured here, and nobody is told.
"""

from tidings.domain import strictjson

EVENT = "system:status"
LATE_SECONDS = 2.0
"""How long an event may wait to be published before it counts as late."""
CAUGHT_UP_SECONDS = 0.5
"""How little it has to be again,"""
CALM_SECONDS = 1.5
"""and for how long, so that a relay that is just not keeping up is not told of over and over."""


class Status:
    """``ok`` at the start."""

    def __init__(self) -> None:
        self._degraded = False
        self._calm_since: float | None = None

    @property
    def degraded(self) -> bool:
        return self._degraded

    def see(self, now: float, *, healthy: bool, lag: float) -> bool:
        """Take a look at the broker, and at how long the oldest event has waited; whether the state is new.

        Times are in monotonic seconds.
        """
        late = not healthy or lag > (CAUGHT_UP_SECONDS if self._degraded else LATE_SECONDS)
        if late == self._degraded:
            self._calm_since = None
            return False
        if self._degraded and not self._calm(now):
            return False
        self._degraded = late
        return True

    def greeting(self) -> bytes | None:
        """What a client hears that has just come in: nothing, if all is well."""
        return self.told() if self._degraded else None

    def told(self) -> bytes:
        """The event's data."""
        return strictjson.dumps({"state": "degraded" if self._degraded else "ok"})

    def _calm(self, now: float) -> bool:
        if self._calm_since is None:
            self._calm_since = now
        return now - self._calm_since >= CALM_SECONDS
