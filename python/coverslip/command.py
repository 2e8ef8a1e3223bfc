"""The command ``coverslip`` of the wheel."""

import os
import sys

from ._contract import PACKAGE


def main() -> None:
    """Becomes the native command."""
    command = PACKAGE / "bin/coverslip"
    os.execv(command, [str(command), *sys.argv[1:]])
