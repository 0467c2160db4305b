"""A real supervisor with real plugins, in a directory of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outrigger_runtime import Backoff, Runtime, RuntimeOptions

from .cases import CLIENTS
from .fake import until

_REPOSITORY = CLIENTS.parent
BIN = Path(os.environ.get("OUTRIGGER_BIN") or _REPOSITORY / "target/debug/outrigger").resolve()
"""The program under test, and beside it the plugins of the fixtures."""
FIXTURES = Path(os.environ.get("OUTRIGGER_FIXTURES") or _REPOSITORY / "sdk-fixtures").resolve()
"""Manifests and scripts of the fixtures."""
PYTHON = Path(os.environ.get("OUTRIGGER_PYTHON") or _REPOSITORY / "target/python").absolute()
"""A Python environment with stock stubs: `venv/` and `stubs/`."""
_TIMES = {
    "drain": "500ms",
    "shutdown": "500ms",
    "terminate": "300ms",
    "stop_all": "5s",
    "cancel_grace": "1500ms",
    "ping": "250ms",
    "idle_ping": "500ms",
    "backoff_first": "40ms",
    "backoff_max": "200ms",
}
"""Short times, so that a test need not wait; their relations are those of the defaults."""


@dataclass(frozen=True)
class Plugin:
    """A plugin of the operator's file."""

    id: str
    write: Callable[[Path], None]
    """Makes the package directory."""
    lines: str = ""
    """Further lines of its entry."""


def _manifest(directory: Path, **values: Any) -> None:
    path = directory / "plugin.toml"
    lines = path.read_text().splitlines()
    for index, line in enumerate(lines):
        key = line.partition(" = ")[0]
        if key in values:
            lines[index] = f"{key} = {json.dumps(values[key])}"
    path.write_text("\n".join(lines))


def fixture(plugin_id: str, lines: str = "") -> Plugin:
    """A fixture with a program of the build."""

    def write(directory: Path) -> None:
        shutil.copytree(FIXTURES / "plugins" / plugin_id, directory)
        _manifest(directory, command=[str(BIN.parent / plugin_id)])

    return Plugin(plugin_id, write, lines)


def misbehave(plugin_id: str, *fault: str) -> Plugin:
    """The plugin that misbehaves, as a guard of the tool that is its id."""

    def write(directory: Path) -> None:
        shutil.copytree(FIXTURES / "plugins/misbehave", directory)
        command = [str(BIN.parent / "misbehave"), "--tool", plugin_id, *fault]
        _manifest(directory, id=plugin_id, tools=[plugin_id], command=command)

    return Plugin(plugin_id, write)


def event_reader() -> Plugin:
    """The plugin that writes down every event it reads."""

    def write(directory: Path) -> None:
        directory.mkdir()
        command = json.dumps([str(BIN.parent / "event-reader")])
        text = f'id = "event-reader"\nversion = "0.1.0"\ncommand = {command}\nconnect = "absolute"\n'
        (directory / "plugin.toml").write_text(text + 'scopes = ["events.read", "hooks.conversation"]\n')

    return Plugin("event-reader", write, 'tier = "trusted"\n')


def _python(plugin_id: str, script: str, origin: Path) -> Plugin:
    def write(directory: Path) -> None:
        shutil.copytree(origin, directory)
        for stock in ("stock_gate.py", "stock_tools.py"):
            shutil.copy(FIXTURES / "python" / stock, directory)
        shutil.copytree(PYTHON / "stubs", directory, dirs_exist_ok=True)
        _manifest(directory, command=[str(PYTHON / "venv/bin/python"), "-B", f"{{package}}/{script}"])

    return Plugin(plugin_id, write, 'tier = "trusted"\n')


def tools() -> Plugin:
    """The two served tools."""
    return _python("python-tools", "stock_tools.py", FIXTURES / "plugins/python-tools")


def recorder() -> Plugin:
    """The plugin that writes down what it is called with."""
    return _python("recorder", "recorder.py", CLIENTS / "fixtures")


class World:
    """The directory, and what runs in it."""

    def __init__(self, *plugins: Plugin) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="orw-"))
        for name in ("run", "state"):
            (self.directory / name).mkdir(mode=0o700)
        config = "[supervisor]\n" + "".join(f'{key} = "{value}"\n' for key, value in _TIMES.items())
        for plugin in plugins:
            plugin.write(self.directory / plugin.id)
            config += f'\n[[plugin]]\npackage = "{plugin.id}"\n{plugin.lines}'
        (self.directory / "outrigger.toml").write_text(config)
        self._env = {
            **os.environ,
            "OUTRIGGER_RUNTIME_DIR": str(self.directory / "run"),
            "OUTRIGGER_STATE_DIR": str(self.directory / "state"),
            "OUTRIGGER_CONFIG": str(self.directory / "outrigger.toml"),
        }
        self._process: asyncio.subprocess.Process | None = None
        self._runtimes: list[Runtime] = []

    def runtime(self, **options: Any) -> Runtime:
        """A client; closed when the world ends."""
        own = {
            "socket_path": str(self.directory / "run/runtime.sock"),
            "key_path": str(self.directory / "state/keys/default.key"),
            "backoff": Backoff(20, 100),
        }
        self._runtimes.append(Runtime(RuntimeOptions(**{**own, **options})))
        return self._runtimes[-1]

    async def start(self) -> None:
        """Starts the supervisor, and does not wait for it."""
        with (self.directory / "log").open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                BIN, "run", env=self._env, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def ready(self) -> None:
        """Waits until all plugins serve."""

        async def check() -> bool:
            if self._process is None or self._process.returncode is not None:
                raise AssertionError(f"the supervisor ended: {(self.directory / 'log').read_text()}")
            status = await self.outrigger("status")
            return status is not None and all(plugin["state"] == "ready" for plugin in status["plugins"])

        await until("all plugins are ready", check)

    async def kill(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """Kills the supervisor and waits for its end."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(sign)
        await process.wait()

    async def outrigger(self, *arguments: str) -> Any:
        """What the operator's command says; None where it fails."""
        process = await asyncio.create_subprocess_exec(
            *(BIN, *arguments, "--json"),
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await process.communicate()
        return json.loads(out) if process.returncode == 0 else None

    async def handler_calls(self) -> dict[str, int]:
        """Calls of each handler, as the supervisor counts them."""
        handlers = (await self.outrigger("hooks"))["handlers"]
        return {f"{handler['plugin_id']}/{handler['handler_id']}": handler["calls"] for handler in handlers}

    def lines(self, plugin: str, name: str) -> list[dict[str, Any]]:
        """Lines of a file in a plugin's data directory."""
        path = self.directory / "state/data" / plugin / name
        # The last may be half written.
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    async def end(self) -> None:
        """Ends everything."""
        await asyncio.gather(*(runtime.close(0) for runtime in self._runtimes))
        await self.kill(signal.SIGTERM)
        # What a killed supervisor leaves is closed to everybody but root.
        for path in (self.directory / "run").rglob("*"):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(self.directory)
