"""Tools that plugins serve to the model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import grpc

from outrigger_runtime._gen.outrigger.runtime.v1 import runtime_pb2
from outrigger_runtime._gen.outrigger.types.v1 import plugin_pb2

from .errors import from_rpc, to_ms, unknown
from .json_text import decode
from .link import Link
from .results import enum_name

_PAGE = 1000
"""Tools on a page."""
_LONGEST_MS, _GRACE_MS = 3_600_000, 1_000
"""Longest time a tool may take (the contract's bound), and what is left for the way."""
_MOST_PAGES = 100
"""Most pages read: registrations are bounded far below."""


@dataclass(frozen=True)
class ServedTool:
    """A tool some plugin serves, or served last."""

    name: str
    description: str
    input_schema: dict[str, Any]
    """JSON Schema of the arguments."""
    output_schema: dict[str, Any] | None
    """JSON Schema of `structured`."""
    hints: dict[str, bool]
    """`read_only`, `destructive`, `idempotent`, `open_world`, as far as they are stated."""
    plugin_id: str
    plugin_name: str
    available: bool
    """A call would reach the plugin now."""
    plugin_state: str
    timeout_ms: float | None
    """Time one call may take."""
    display_name: str | None
    about: str | None
    """What it is, for people."""
    risk: str | None
    """`low`, `medium` or `high`."""
    tags: tuple[str, ...]


@dataclass(frozen=True)
class ToolProgress:
    """How far a tool has come."""

    done: float
    total: float | None
    message: str | None


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered."""

    content: list[dict[str, Any]]
    """Parts in order: `{"type": "text", "text"}`, `{"type": "json", "value"}`, `{"type": "image", "data", "media_type"}`,
    `{"type": "file", "file_name", "staged_file_id", "staged_path", "size_bytes", "media_type"}`."""
    is_error: bool
    """The model is to see it as an error."""
    structured: Any
    """For programs."""
    plugin_id: str
    arguments_invalid: bool
    """The arguments do not satisfy the tool's schema: the plugin was not called."""
    epoch: int


async def list_tools(link: Link, timeout_ms: float) -> list[ServedTool]:
    """All tools that plugins serve, by plugin and name."""
    tools: list[ServedTool] = []
    page_token = ""
    for _ in range(_MOST_PAGES):
        request = runtime_pb2.ListToolsRequest(page_size=_PAGE, page_token=page_token)
        try:
            answer = await link.unary("ListTools", request, runtime_pb2.ListToolsResponse, timeout_ms)
        except grpc.aio.AioRpcError as status:
            raise from_rpc(status) from None
        tools += [_read_tool(entry) for entry in answer.entries if entry.HasField("spec")]
        page_token = answer.next_page_token
        if not page_token:
            break
    return tools


def _read_tool(entry: Any) -> ServedTool:
    spec, metadata = entry.spec, entry.metadata
    hints = {}
    for name in ("read_only", "destructive", "idempotent", "open_world"):
        if spec.hints.HasField(name):
            hints[name] = getattr(spec.hints, name)
    return ServedTool(
        name=spec.name,
        description=spec.description,
        input_schema=decode(spec.input_schema_json) or {"type": "object"},
        output_schema=decode(spec.output_schema_json),
        hints=hints,
        plugin_id=entry.plugin_id,
        plugin_name=entry.plugin_name,
        available=entry.available,
        plugin_state=enum_name(plugin_pb2.PluginState, entry.plugin_state, "PLUGIN_STATE_") or "unspecified",
        timeout_ms=to_ms(entry, "timeout"),
        display_name=metadata.display_name or None,
        about=metadata.description or None,
        risk=enum_name(plugin_pb2.ToolRisk, metadata.risk, "TOOL_RISK_"),
        tags=tuple(metadata.tags),
    )


async def invoke_tool(
    link: Link, request: Any, timeout_ms: float | None
) -> AsyncGenerator[ToolProgress | ToolResult, None]:
    """Runs a tool. Closing the iterator, or cancelling its task, cancels the call. Raises `RuntimeCallError`."""
    limit = _GRACE_MS + (_LONGEST_MS if timeout_ms is None else timeout_ms)
    stream = link.server_stream("InvokeTool", request, runtime_pb2.InvokeToolResponse, limit)
    answered = False
    try:
        while (message := await stream.read()) is not grpc.aio.EOF:
            kind = message.WhichOneof("event")
            if kind == "progress":
                told = message.progress
                yield ToolProgress(told.done, told.total or None, told.message or None)
            elif kind == "result":
                answered = True
                yield _read_result(message.result)
    except grpc.aio.AioRpcError as status:
        raise from_rpc(status) from None
    finally:
        stream.cancel()
    if not answered:
        raise unknown("the call ended without a result")


def _read_result(wire: Any) -> ToolResult:
    parts = (_read_content(part) for part in wire.result.content)
    return ToolResult(
        content=[part for part in parts if part is not None],
        is_error=wire.result.is_error or not wire.HasField("result"),
        structured=decode(wire.result.structured_json),
        plugin_id=wire.plugin_id,
        arguments_invalid=wire.arguments_invalid,
        epoch=wire.contribution_epoch,
    )


def _read_content(wire: Any) -> dict[str, Any] | None:
    part = wire.WhichOneof("part")
    if part == "text":
        return {"type": "text", "text": wire.text}
    if part == "value_json":
        return {"type": "json", "value": decode(wire.value_json)}
    if part == "image":
        return {"type": "image", "data": wire.image.data, "media_type": wire.image.media_type}
    if part == "file":
        names = ("file_name", "staged_file_id", "staged_path", "size_bytes")
        media_type = wire.file.media_type or None
        return {"type": "file", **{name: getattr(wire.file, name) for name in names}, "media_type": media_type}
    return None
