"""Jobs: what may be asked for (kinds), asking for it (requests), and getting it done (queue, worker, reaper)."""
