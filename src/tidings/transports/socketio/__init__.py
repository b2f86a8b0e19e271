"""Socket.IO: ``packet``, ``engine`` and ``protocol`` are the rules without I/O; the rest carries them."""
