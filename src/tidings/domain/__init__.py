"""Frozen records and rules. No I/O, no clock, no randomness: whoever needs those passes them in."""
