"""One connection to the supervisor, with the key on every call. A connection is used for one attachment and then closed."""

from __future__ import annotations

import os
from typing import Any

import grpc

_SERVICE = "/outrigger.runtime.v1.RuntimeService/"
_KEY_METADATA = "outrigger-key"
_LONGEST_ADDRESS = 107
"""Longest address of a socket on Linux, in bytes."""
_LONGEST_MESSAGE = 5 * 1024 * 1024
"""Longest message taken in, in bytes: the contract's 4 MiB and what surrounds it."""
_OPTIONS = [
    # The path would be sent as the authority otherwise, in a form that servers refuse.
    ("grpc.default_authority", "localhost"),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", _LONGEST_MESSAGE),
    ("grpc.max_send_message_length", _LONGEST_MESSAGE),
]


class Link:
    """A connection. Nothing is dialled before the first call."""

    def __init__(self, socket_path: str, key: str) -> None:
        self._metadata = ((_KEY_METADATA, key),)
        self._directory: int | None = None
        address = os.path.abspath(socket_path)
        if len(os.fsencode(address)) > _LONGEST_ADDRESS:
            # By way of the directory's descriptor, so that no limit on the length of an address applies.
            self._directory = os.open(os.path.dirname(address), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            address = f"/proc/self/fd/{self._directory}/{os.path.basename(address)}"
        self._channel = grpc.aio.insecure_channel(f"unix:{address}", options=_OPTIONS)

    async def unary(self, name: str, request: Any, answer: Any, timeout_ms: float | None = None) -> Any:
        """One request, one answer. Raises `grpc.aio.AioRpcError`; cancelling the task cancels the call."""
        call = self._channel.unary_unary(_SERVICE + name, type(request).SerializeToString, answer.FromString)
        timeout = None if timeout_ms is None else timeout_ms / 1000
        return await call(request, metadata=self._metadata, timeout=timeout)

    def server_stream(self, name: str, request: Any, answer: Any, timeout_ms: float | None = None) -> Any:
        """One request, many answers."""
        call = self._channel.unary_stream(_SERVICE + name, type(request).SerializeToString, answer.FromString)
        timeout = None if timeout_ms is None else timeout_ms / 1000
        return call(request, metadata=self._metadata, timeout=timeout)

    def duplex(self, name: str, request: Any, answer: Any) -> Any:
        """Many requests, many answers."""
        call = self._channel.stream_stream(_SERVICE + name, request.SerializeToString, answer.FromString)
        return call(metadata=self._metadata)

    async def close(self) -> None:
        """Ends the connection and what still is on it. Idempotent."""
        directory, self._directory = self._directory, None
        await self._channel.close()
        if directory is not None:
            os.close(directory)
