/** The messages of the wire contract that the client hands out as they are: `HookAnswer.raw`, directives and news. */

export * from "./gen/outrigger/runtime/v1/directive_pb.js";
export * from "./gen/outrigger/runtime/v1/runtime_pb.js";
export * from "./gen/outrigger/types/v1/common_pb.js";
export * from "./gen/outrigger/types/v1/error_pb.js";
export * from "./gen/outrigger/types/v1/event_pb.js";
export * from "./gen/outrigger/types/v1/hook_pb.js";
export * from "./gen/outrigger/types/v1/plugin_pb.js";
export * from "./gen/outrigger/types/v1/schedule_pb.js";
