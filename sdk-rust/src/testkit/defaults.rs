//! What the host answers where the test says nothing: the answer a plugin with all rights would get from a host on
//! which it is alone. Session state, run context and job records are remembered, so that what was written is read back.

use std::collections::BTreeMap;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as plugin;
use outrigger_proto::plugin::v1::session_target::Target;
use outrigger_proto::plugin::v1::state_change::Change;
use outrigger_proto::plugin::v1::{SessionState, SessionTarget};
use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::{DeliveryState, Schedule, SessionRef, TurnState};

/// What the host remembers. Bounded by what the plugin under test writes.
#[derive(Default)]
pub(super) struct Memory {
    made: u64,
    states: BTreeMap<(String, String), SessionState>,
    runs: BTreeMap<(String, String), Bytes>,
    jobs: BTreeMap<String, plugin::Job>,
    turns: BTreeMap<String, types::ScheduledTurn>,
    injections: BTreeMap<String, plugin::list_injections_response::Entry>,
}

impl Memory {
    /// An id for something new.
    fn id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{}", self.made)
    }
}

/// The session a call is about, as one text: its handle or key, or the invocation's where none is named.
fn session(target: Option<SessionTarget>) -> String {
    match target.and_then(|target| target.target) {
        Some(Target::Handle(handle)) => handle,
        Some(Target::Address(address)) => address.key,
        None => String::new(),
    }
}

fn session_ref(target: Option<SessionTarget>) -> SessionRef {
    let handle = session(target);
    SessionRef { key: format!("agent:main:{handle}"), handle, agent_id: "main".to_owned(), ..Default::default() }
}

pub(super) fn get_session_state(
    memory: &mut Memory,
    request: plugin::GetSessionStateRequest,
) -> plugin::GetSessionStateResponse {
    use plugin::get_session_state_response::Result::State;

    let key = (session(request.session), request.namespace.clone());
    let none = || SessionState { namespace: request.namespace, ..Default::default() };
    plugin::GetSessionStateResponse { result: Some(State(memory.states.get(&key).cloned().unwrap_or_else(none))) }
}

pub(super) fn patch_session_state(
    memory: &mut Memory,
    request: plugin::PatchSessionStateRequest,
) -> plugin::PatchSessionStateResponse {
    use plugin::patch_session_state_response::Result::{Conflict, State};

    let change = request.change.unwrap_or_default();
    let key = (session(request.session), change.namespace.clone());
    let none = SessionState { namespace: change.namespace, ..Default::default() };
    let current = memory.states.get(&key).cloned().unwrap_or_else(|| none.clone());
    if change.expected_version.is_some_and(|expected| expected != current.version) {
        return plugin::PatchSessionStateResponse { result: Some(Conflict(current)) };
    }
    let state = match change.change {
        Some(Change::ValueJson(value_json)) => {
            let state = SessionState { version: current.version + 1, value_json, ..current };
            memory.states.insert(key, state.clone());
            state
        }
        Some(Change::Unset(_)) | None => {
            memory.states.remove(&key);
            none
        }
    };
    plugin::PatchSessionStateResponse { result: Some(State(state)) }
}

pub(super) fn list_sessions(_: &mut Memory, _: plugin::ListSessionsRequest) -> plugin::ListSessionsResponse {
    plugin::ListSessionsResponse::default()
}

pub(super) fn enqueue_injection(
    memory: &mut Memory,
    request: plugin::EnqueueInjectionRequest,
) -> plugin::EnqueueInjectionResponse {
    use plugin::enqueue_injection_response::{Injection, Result::Stored};

    let injection_id = memory.id("injection");
    let entry = plugin::list_injections_response::Entry {
        injection_id: injection_id.clone(),
        idempotency_key: request.idempotency_key,
        text_start: request.text.chars().take(256).collect(),
        ..Default::default()
    };
    memory.injections.insert(injection_id.clone(), entry);
    let live_count = u32::try_from(memory.injections.len()).unwrap_or(u32::MAX);
    let stored = Injection { injection_id, session_key: session_ref(request.session).key, live_count };
    plugin::EnqueueInjectionResponse { result: Some(Stored(stored)) }
}

pub(super) fn list_injections(memory: &mut Memory, _: plugin::ListInjectionsRequest) -> plugin::ListInjectionsResponse {
    plugin::ListInjectionsResponse { entries: memory.injections.values().cloned().collect(), refused: None }
}

pub(super) fn withdraw_injection(
    memory: &mut Memory,
    request: plugin::WithdrawInjectionRequest,
) -> plugin::WithdrawInjectionResponse {
    use plugin::withdraw_injection_request::Selector::{IdempotencyKey, InjectionId};
    use plugin::withdraw_injection_response::Result::Removed;

    let before = memory.injections.len();
    memory.injections.retain(|id, entry| match &request.selector {
        Some(InjectionId(wanted)) => id != wanted,
        Some(IdempotencyKey(wanted)) => entry.idempotency_key != *wanted,
        None => true,
    });
    plugin::WithdrawInjectionResponse { result: Some(Removed(memory.injections.len() < before)) }
}

pub(super) fn request_approval(
    memory: &mut Memory,
    _: plugin::RequestApprovalRequest,
) -> plugin::RequestApprovalResponse {
    use plugin::request_approval_response::Result::ApprovalId;

    plugin::RequestApprovalResponse { result: Some(ApprovalId(memory.id("approval"))) }
}

pub(super) fn withdraw_approval(
    _: &mut Memory,
    _: plugin::WithdrawApprovalRequest,
) -> plugin::WithdrawApprovalResponse {
    use plugin::withdraw_approval_response::Result::Removed;

    plugin::WithdrawApprovalResponse { result: Some(Removed(true)) }
}

pub(super) fn get_run_context(
    memory: &mut Memory,
    request: plugin::GetRunContextRequest,
) -> plugin::GetRunContextResponse {
    use plugin::get_run_context_response::Result::ValueJson;

    let value = memory.runs.get(&(request.run_handle, request.namespace)).cloned().unwrap_or_default();
    plugin::GetRunContextResponse { result: Some(ValueJson(value)) }
}

pub(super) fn set_run_context(
    memory: &mut Memory,
    request: plugin::SetRunContextRequest,
) -> plugin::SetRunContextResponse {
    let key = (request.run_handle, request.namespace);
    if request.value_json.is_empty() {
        memory.runs.remove(&key);
    } else {
        memory.runs.insert(key, request.value_json);
    }
    plugin::SetRunContextResponse::default()
}

pub(super) fn clear_run_context(
    memory: &mut Memory,
    request: plugin::ClearRunContextRequest,
) -> plugin::ClearRunContextResponse {
    let before = memory.runs.len();
    memory.runs.retain(|(run, namespace), _| {
        *run != request.run_handle || !(request.namespace.is_empty() || *namespace == request.namespace)
    });
    let removed = u32::try_from(before - memory.runs.len()).unwrap_or(u32::MAX);
    plugin::ClearRunContextResponse { removed, refused: None }
}

pub(super) fn emit_event(memory: &mut Memory, _: plugin::EmitEventRequest) -> plugin::EmitEventResponse {
    use plugin::emit_event_response::Result::EventSeq;

    memory.made += 1;
    plugin::EmitEventResponse { result: Some(EventSeq(memory.made)) }
}

pub(super) fn schedule_turn(memory: &mut Memory, request: plugin::ScheduleTurnRequest) -> plugin::ScheduleTurnResponse {
    use plugin::schedule_turn_response::Result::Turn;

    let turn = types::ScheduledTurn {
        turn_id: memory.id("turn"),
        session: Some(session_ref(request.session)),
        message: request.message,
        schedule: Some(request.schedule.unwrap_or_default()),
        delivery_mode: request.delivery_mode,
        name: request.name,
        tag: request.tag,
        state: TurnState::Pending.into(),
        delete_after_run: request.delete_after_run.unwrap_or(true),
        ..Default::default()
    };
    memory.turns.insert(turn.turn_id.clone(), turn.clone());
    plugin::ScheduleTurnResponse { result: Some(Turn(turn)) }
}

pub(super) fn unschedule_turns(
    memory: &mut Memory,
    request: plugin::UnscheduleTurnsRequest,
) -> plugin::UnscheduleTurnsResponse {
    use plugin::unschedule_turns_request::Selector::{Tag, TurnId};
    use plugin::unschedule_turns_response::{Counts, Result::Counts as Counted};

    let before = memory.turns.len();
    memory.turns.retain(|id, turn| match &request.selector {
        Some(TurnId(wanted)) => id != wanted,
        Some(Tag(wanted)) => turn.tag != wanted.tag,
        None => true,
    });
    let removed = u32::try_from(before - memory.turns.len()).unwrap_or(u32::MAX);
    plugin::UnscheduleTurnsResponse { result: Some(Counted(Counts { removed, failed: 0 })) }
}

pub(super) fn list_scheduled_turns(
    memory: &mut Memory,
    request: plugin::ListScheduledTurnsRequest,
) -> plugin::ListScheduledTurnsResponse {
    let wanted = |turn: &&types::ScheduledTurn| request.tag.is_empty() || turn.tag == request.tag;
    let turns = memory.turns.values().filter(wanted).cloned().collect();
    plugin::ListScheduledTurnsResponse { turns, ..Default::default() }
}

pub(super) fn request_lease(memory: &mut Memory, request: plugin::RequestLeaseRequest) -> plugin::RequestLeaseResponse {
    use plugin::request_lease_response::{Lease, Result::Lease as Granted};

    let replaced = memory.turns.values().find(|turn| turn.lease_key == request.lease_key);
    let replaced_turn_id = replaced.map(|turn| turn.turn_id.clone()).unwrap_or_default();
    memory.turns.remove(&replaced_turn_id);
    let turn = types::ScheduledTurn {
        turn_id: memory.id("turn"),
        message: request.message,
        schedule: Some(Schedule::default()),
        delivery_mode: request.delivery_mode,
        lease_key: request.lease_key,
        state: TurnState::Pending.into(),
        delete_after_run: true,
        ..Default::default()
    };
    memory.turns.insert(turn.turn_id.clone(), turn.clone());
    let lease = Lease { turn: Some(turn), replaced_turn_id, chain_length: 1, chain_limit: 16 };
    plugin::RequestLeaseResponse { result: Some(Granted(lease)) }
}

pub(super) fn clear_lease(memory: &mut Memory, request: plugin::ClearLeaseRequest) -> plugin::ClearLeaseResponse {
    use plugin::LeaseClearance;
    use plugin::clear_lease_response::Result::Clearance;

    let before = memory.turns.len();
    memory.turns.retain(|_, turn| turn.lease_key != request.lease_key);
    let removed = memory.turns.len() < before;
    let clearance = if removed { LeaseClearance::Removed } else { LeaseClearance::None };
    plugin::ClearLeaseResponse { result: Some(Clearance(clearance.into())) }
}

/// A delivery that has arrived.
fn delivered(delivery_id: String) -> plugin::AttachmentDelivery {
    plugin::AttachmentDelivery {
        delivery_id,
        state: DeliveryState::Delivered.into(),
        channel: "test".to_owned(),
        ..Default::default()
    }
}

pub(super) fn send_attachments(
    memory: &mut Memory,
    request: plugin::SendAttachmentsRequest,
) -> plugin::SendAttachmentsResponse {
    use plugin::FileOutcome;
    use plugin::attachment_delivery::File;

    let staged = || File { outcome: FileOutcome::Staged.into(), ..Default::default() };
    let delivery = plugin::AttachmentDelivery {
        delivery_id: memory.id("delivery"),
        state: DeliveryState::Pending.into(),
        files: request.files.iter().map(|_| staged()).collect(),
        ..Default::default()
    };
    plugin::SendAttachmentsResponse { delivery: Some(delivery), refused: None }
}

pub(super) fn get_attachment_delivery(
    _: &mut Memory,
    request: plugin::GetAttachmentDeliveryRequest,
) -> plugin::GetAttachmentDeliveryResponse {
    use plugin::get_attachment_delivery_response::Result::Delivery;

    plugin::GetAttachmentDeliveryResponse { result: Some(Delivery(delivered(request.delivery_id))) }
}

pub(super) fn put_job(memory: &mut Memory, request: plugin::PutJobRequest) -> plugin::PutJobResponse {
    use plugin::put_job_response::Result::Job as Put;

    let job = plugin::Job {
        job_generation: memory.jobs.get(&request.job_id).map_or(0, |job| job.job_generation) + 1,
        job_id: request.job_id,
        session: Some(session_ref(request.session)),
        kind: request.kind,
        description: request.description,
    };
    memory.jobs.insert(job.job_id.clone(), job.clone());
    plugin::PutJobResponse { result: Some(Put(job)) }
}

pub(super) fn delete_job(memory: &mut Memory, request: plugin::DeleteJobRequest) -> plugin::DeleteJobResponse {
    use plugin::delete_job_response::Result::Removed;

    let current = memory.jobs.get(&request.job_id).map(|job| job.job_generation);
    let removed = current == Some(request.job_generation);
    if removed {
        memory.jobs.remove(&request.job_id);
    }
    plugin::DeleteJobResponse { result: Some(Removed(removed)) }
}

pub(super) fn list_jobs(memory: &mut Memory, _: plugin::ListJobsRequest) -> plugin::ListJobsResponse {
    plugin::ListJobsResponse { jobs: memory.jobs.values().cloned().collect(), ..Default::default() }
}

pub(super) fn write_logs(_: &mut Memory, _: plugin::WriteLogsRequest) -> plugin::WriteLogsResponse {
    plugin::WriteLogsResponse { dropped: 0 }
}
