"""Whether a server may load a version, found out in a process of its own.

Its graph is megabytes and walking it is 0.2 s of Python: in the server's process every request would wait for its turn
beside that.

    python -m serving.server.check_release FOLDER [PUBLIC_KEYS [--allow-unsigned]]

Ends with 0 where it may be loaded; otherwise with a code of `REFUSALS`, and the reason on stdout.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from serving.allowed_ops import require_allowed_ops
from serving.manifest import UntrustedError, verify_files
from serving.release_keys import read_public_keys
from serving.server.status import Code
from serving.trust import Trust
from tastemaker.errors import TastemakerError

ALLOW_UNSIGNED = "--allow-unsigned"
_UNTRUSTED, _DAMAGED = 10, 11  # Python itself ends with 1, 2 or 120
REFUSALS = {_UNTRUSTED: Code.FAILED_PRECONDITION, _DAMAGED: Code.DATA_LOSS}
# Those who are served go first.
_NICE = 5


def main(arguments: Sequence[str]) -> int:
    """Checks a folder against its manifest, and with PUBLIC_KEYS, that one of them has signed it."""
    folder, keys, unsigned = Path(arguments[0]), arguments[1:2], ALLOW_UNSIGNED in arguments[2:]
    try:
        if keys:
            Trust(read_public_keys(Path(keys[0])), unsigned).require(folder)
        else:
            verify_files(folder)
            require_allowed_ops(folder)
    except TastemakerError as problem:
        print(problem)
        return _UNTRUSTED if isinstance(problem, UntrustedError) else _DAMAGED
    return 0


if __name__ == "__main__":
    os.nice(_NICE)
    sys.exit(main(sys.argv[1:]))
