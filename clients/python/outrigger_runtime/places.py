"""Where socket and key lie: looked up in the order of the `outrigger` command."""

from __future__ import annotations

import os
from collections.abc import Mapping


class PlaceError(Exception):
    """A place cannot be told."""


def _named(env: Mapping[str, str], variable: str) -> str | None:
    path = env.get(variable) or None
    if path is not None and not os.path.isabs(path):
        raise PlaceError(f"use {variable}: `{path}` is not absolute")
    return path


def _base(env: Mapping[str, str], variable: str) -> str | None:
    # Relative ones are to be ignored, as the XDG Base Directory Specification wants.
    path = env.get(variable)
    return path if path and os.path.isabs(path) else None


def runtime_dir(env: Mapping[str, str] | None = None, uid: int | None = None) -> str:
    """The directory of the sockets: `OUTRIGGER_RUNTIME_DIR`; `/run/outrigger` for root; `$XDG_RUNTIME_DIR/outrigger`;
    `/tmp/outrigger-UID`."""
    env = os.environ if env is None else env
    uid = os.geteuid() if uid is None else uid
    if path := _named(env, "OUTRIGGER_RUNTIME_DIR"):
        return path
    if uid == 0:
        return "/run/outrigger"
    xdg = _base(env, "XDG_RUNTIME_DIR")
    return os.path.join(xdg, "outrigger") if xdg else f"/tmp/outrigger-{uid}"


def state_dir(env: Mapping[str, str] | None = None, uid: int | None = None) -> str:
    """The directory of keys: `OUTRIGGER_STATE_DIR`; `/var/lib/outrigger` for root; `$XDG_STATE_HOME/outrigger`;
    `~/.local/state/outrigger`."""
    env = os.environ if env is None else env
    uid = os.geteuid() if uid is None else uid
    if path := _named(env, "OUTRIGGER_STATE_DIR"):
        return path
    if uid == 0:
        return "/var/lib/outrigger"
    if state := _base(env, "XDG_STATE_HOME"):
        return os.path.join(state, "outrigger")
    if home := _base(env, "HOME"):
        return os.path.join(home, ".local/state/outrigger")
    raise PlaceError("find the user's directories: neither XDG_STATE_HOME nor HOME is an absolute path")


def runtime_socket(directory: str) -> str:
    """The socket for runtimes."""
    return os.path.join(directory, "runtime.sock")


def runtime_key(directory: str, runtime_id: str = "default") -> str:
    """The key file of a runtime."""
    return os.path.join(directory, "keys", f"{runtime_id}.key")
