"""Secrets: how long, of what, and never the same one twice."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from string import ascii_letters, digits

from tidings.domain.ids import floor_id, new_id, new_secret

_FORK = """
import os
from tidings.domain.ids import new_secret
new_secret()
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, new_secret().encode())
    os._exit(0)
os.wait()
print(os.read(reading, 20).decode() != new_secret())
"""


def test_a_secret_is_20_url_safe_characters() -> None:
    """120 bits as base64url (RFC 4648, section 5), which needs no padding; all of the alphabet is used."""
    secrets = [new_secret() for _ in range(1000)]
    assert len(set(secrets)) == len(secrets)
    assert {len(secret) for secret in secrets} == {20}
    assert set("".join(secrets)) == set(f"{ascii_letters}{digits}-_")


def test_threads_are_given_different_secrets() -> None:
    """The pool may be emptied by another thread at any moment."""
    with ThreadPoolExecutor(8) as threads:
        secrets = list(threads.map(lambda _: new_secret(), range(5000)))
    assert len(set(secrets)) == len(secrets)


def test_a_forked_process_gives_none_that_its_parent_will_give() -> None:
    """What was in the pool at the fork belongs to the parent alone."""
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_an_id_comes_after_the_floor_of_its_time() -> None:
    """And before the floor of a later one (RFC 9562, section 5.7: the first 48 bits are milliseconds)."""
    before = time.time()
    made = new_id()
    assert floor_id(before) < made < floor_id(time.time() + 0.001)
    assert floor_id(-1) == "00000000-0000"
