"""The runtime client of Outrigger: hooks, events, tools and directives of an agent runtime."""

from .away import away_verdict
from .backoff import Backoff, backoff_ms
from .catalogue import FAIL_CLOSED_HOOKS, HOOK_NAMES, TOOL_HOOKS
from .directives import Directive, DirectiveResult
from .errors import RuntimeCallError
from .hook_calls import Decision, Failure, HookAnswer, HookCall, PendingApproval
from .interest import Contributions, Interest, match
from .json_text import canonical_json, digest
from .key import KeyFileError
from .options import Agent, LiveRun, RuntimeOptions, SessionRef
from .places import PlaceError, runtime_dir, runtime_key, runtime_socket, state_dir
from .publisher import AgentEvent
from .results import ApprovalRequest, HandlerReport, HookResult
from .runtime import Finalized, PreparedTurn, Resolved, Runtime
from .tools import ServedTool, ToolProgress, ToolResult

__all__ = [
    "FAIL_CLOSED_HOOKS",
    "HOOK_NAMES",
    "TOOL_HOOKS",
    "Agent",
    "AgentEvent",
    "ApprovalRequest",
    "Backoff",
    "Contributions",
    "Decision",
    "Directive",
    "DirectiveResult",
    "Failure",
    "Finalized",
    "HandlerReport",
    "HookAnswer",
    "HookCall",
    "HookResult",
    "Interest",
    "KeyFileError",
    "LiveRun",
    "PendingApproval",
    "PlaceError",
    "PreparedTurn",
    "Resolved",
    "Runtime",
    "RuntimeCallError",
    "RuntimeOptions",
    "ServedTool",
    "SessionRef",
    "ToolProgress",
    "ToolResult",
    "away_verdict",
    "backoff_ms",
    "canonical_json",
    "digest",
    "match",
    "runtime_dir",
    "runtime_key",
    "runtime_socket",
    "state_dir",
]
