"""The key of a runtime: one line `RUNTIME_ID:SECRET` of a file that others cannot read."""

from __future__ import annotations

import os
import re
import stat

_LONGEST = 256
"""Longest file that is read, in bytes."""
_LINE = re.compile(rb"[a-z0-9_-]+:[0-9a-f]{64}\n?\Z")


class KeyFileError(Exception):
    """A key file cannot be used. The message names the file and never its content."""


def read_key(path: str) -> str:
    """Reads a key file; its line as it travels with every call."""
    try:
        with open(path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode)
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"use the key `{path}`: it is no file")
            if mode & 0o007:
                raise KeyFileError(
                    f"use the key `{path}`: others can read or write it (mode {mode:04o}); make a new one, as this one may be known"
                )
            line = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise KeyFileError(
            f"read the key `{path}`: there is no such file; has the supervisor ever started with this state directory?"
        ) from None
    except PermissionError:
        raise KeyFileError(
            f"read the key `{path}`: permission denied; only the supervisor's user may, and a group that was given it"
        ) from None
    except OSError as error:
        raise KeyFileError(f"read the key `{path}`: {error.strerror}") from None
    if not _LINE.match(line):
        raise KeyFileError(f"use the key `{path}`: it is not a file with one line `HOLDER:SECRET`")
    return line.decode().rstrip("\n")
