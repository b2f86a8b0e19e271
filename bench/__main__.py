"""``python -m bench``: every benchmark there is, with the options of the one there is."""

import sys

from bench.fanout.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
