"""The REST surface: routes, errors as problem+json, health, metrics and their documentation.

``app`` puts it together, ``edge`` is what every request passes first. Event streams are transports and are
handed in as routes.
"""
