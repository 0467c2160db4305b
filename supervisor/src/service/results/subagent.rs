//! Subagents: whether one starts, and where its completion goes.

use outrigger_proto::types::v1 as types;
use types::hook_result::Result as Kind;
use types::subagent_spawn::{Ready, Status};

use super::fields::{self, REASON};
use super::merge::{Answer, Merged};
use super::wrap;

/// Checks one handler's answer to a start.
pub(super) fn check_spawn(mut spawn: types::SubagentSpawn) -> Result<types::SubagentSpawn, String> {
    match &mut spawn.status {
        Some(Status::Ok(_)) => {}
        Some(Status::Error(error)) => {
            fields::line("an error", error, REASON)?;
            if error.is_empty() {
                return Err("an error that does not say why".to_owned());
            }
        }
        None => return Err("a status without a branch that is known here".to_owned()),
    }
    Ok(spawn)
}

/// Checks one handler's target.
pub(super) fn check_delivery(delivery: types::SubagentDelivery) -> Result<types::SubagentDelivery, String> {
    if delivery.origin_json.is_empty() {
        return Err("origin_json: it is empty".to_owned());
    }
    fields::object("origin_json", &delivery.origin_json)?;
    Ok(delivery)
}

/// The first error stays; else the binding is ready if anybody says so.
pub(super) fn merge_spawn(answers: Vec<Answer>) -> Merged {
    let mut merged = Merged::default();
    let mut ready: Option<bool> = None;
    for Answer { position, result, .. } in answers {
        match result.result {
            Some(Kind::SubagentSpawn(types::SubagentSpawn { status: Some(Status::Error(error)) })) => {
                let spawn = types::SubagentSpawn { status: Some(Status::Error(error)) };
                return merged.stop(position, Kind::SubagentSpawn(spawn));
            }
            Some(Kind::SubagentSpawn(types::SubagentSpawn { status: Some(Status::Ok(one)) })) => {
                ready = Some(ready.unwrap_or(false) || one.thread_binding_ready);
            }
            _ => {}
        }
    }
    merged.result = ready.map(|thread_binding_ready| {
        wrap(Kind::SubagentSpawn(types::SubagentSpawn { status: Some(Status::Ok(Ready { thread_binding_ready })) }))
    });
    merged
}

/// The first target is taken.
pub(super) fn merge_delivery(answers: Vec<Answer>) -> Merged {
    let first = answers.into_iter().find(|answer| matches!(answer.result.result, Some(Kind::SubagentDelivery(_))));
    match first {
        Some(Answer { position, result, .. }) => {
            Merged { decided_by: Some(position), result: result.result.map(wrap), ..Merged::default() }
        }
        None => Merged::default(),
    }
}
