"""Several worker processes on one port: who starts, watches and ends them, and what they tell each other."""
