"""``python -m cybernetes`` is the ``cybernetes`` command."""

import sys

from cybernetes.services.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
