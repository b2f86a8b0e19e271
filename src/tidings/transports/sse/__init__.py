"""Server-sent events: ``frame`` is the format, ``stream`` one open response, ``endpoint`` the way in."""
