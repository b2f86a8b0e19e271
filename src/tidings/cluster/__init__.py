"""What all nodes count and remember together, in Redis: limits, slots and the records of sessions.

Each part stands behind the protocol of its neighbour (``Limiter``, ``Slots``, ``Records``), so that ``app``
chooses between memory and Redis and nobody else knows. They have one idea in common: a node is the authority
on what it let in itself and says so in absolute terms, so that what it says may be repeated, lost, late or
said again after a flush. While Redis is away each node judges by its own share and by what it knows.
"""
