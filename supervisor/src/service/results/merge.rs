//! Several answers made one, by the handlers' order.

use std::sync::OnceLock;

use bytes::Bytes;
use outrigger_proto::types::v1 as types;
use prost::Message as _;
use types::hook_result::Result as Kind;

use super::finalize::Proposal;
use super::{
    claim, denies, ends, evaluation, exec_env, finalize, gate, message, model, prompt, subagent, tool_call, wrap,
};
use crate::domain::hook::{Hook, Kind as Calling, ResultKind};
use crate::domain::json::Slot;
use crate::service::invocation::MAX_PAYLOAD;

/// Most bytes that texts of several handlers may have together in one merged answer.
pub(super) const MAX_MERGED: usize = MAX_PAYLOAD;

/// Whether later handlers are to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// They are.
    GoOn,
    /// The call ends with this answer: whatever a later handler says, or has said already, does not count. Handlers
    /// before it still do.
    Stop,
}

/// What several answers come to. Positions are those the answers were added with.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Merged {
    /// The merged answer; `None` where nobody had an opinion, and where `evaluations` or `finalize` have it.
    pub(crate) result: Option<types::HookResult>,
    /// Who refused, claimed, or gave what came first; `None` where no single handler decided.
    pub(crate) decided_by: Option<usize>,
    /// It must not go on: somebody refused, or a guard failed (then it is in `failed`, and there is no result).
    pub(crate) stopped: bool,
    /// Who asked for the approval that is in the result.
    pub(crate) asked_by: Option<usize>,
    /// Whose parameters are in the result, in order.
    pub(crate) changed_by: Vec<usize>,
    /// Whose parameters came too late to count, in order.
    pub(crate) ignored: Vec<usize>,
    /// The event of a tool call with what will run, if that is not what everybody allowed.
    pub(crate) event: Option<Bytes>,
    /// Verdicts on a proposal.
    pub(crate) evaluations: Vec<(usize, types::Evaluation)>,
    /// What is proposed for an answer about to go out, for `RetryBudgets::settle`.
    pub(crate) finalize: Option<Proposal>,
    /// Handlers that have failed, as what they added was too much, and why; it does not count.
    pub(crate) failed: Vec<(usize, String)>,
    /// Parts of answers that had no effect, for their plugins' authors; at most two a handler.
    pub(crate) notices: Vec<(usize, String)>,
}

impl Merged {
    /// This answer ends the call, whatever came before it.
    pub(super) fn stop(self, position: usize, answer: Kind) -> Self {
        Self {
            result: Some(wrap(answer)),
            decided_by: Some(position),
            stopped: true,
            asked_by: None,
            changed_by: Vec::new(),
            ignored: Vec::new(),
            event: None,
            ..self
        }
    }
}

/// An answer that was checked, and whose it is.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) position: usize,
    pub(super) policy: bool,
    pub(super) result: types::HookResult,
}

/// Collects the answers to one call and merges them. Memory is that of the answers.
#[derive(Debug)]
pub(crate) struct Merge {
    hook: Hook,
    /// By position; none after one that ends the call.
    answers: Vec<Answer>,
    place: Place,
    /// The event with what the handler at this position made of it.
    shown: Option<(usize, Bytes)>,
}

impl Merge {
    /// For a call of a hook about an event, a JSON object that was checked. `most` is the most bytes the event may have
    /// once handlers have changed it: what a payload may have, less the context that goes with it.
    pub(crate) fn new(hook: Hook, event: Bytes, most: usize) -> Self {
        Self { hook, answers: Vec::new(), place: Place::new(hook, event, most), shown: None }
    }

    /// Adds an answer that was checked, of the handler at this position in the call's order; once for each, in any order
    /// of arrival. `policy` for that of a trusted tool policy. Answers of a recheck are not added: there only a refusal
    /// counts.
    ///
    /// # Errors
    /// It makes the event too long, in words that follow the plugin's name. It does not count, and its handler has failed.
    pub(crate) fn add(&mut self, position: usize, policy: bool, result: types::HookResult) -> Result<Flow, String> {
        if let Some(last) = self.answers.last()
            && last.position < position
            && ends(&last.result)
        {
            return Ok(Flow::Stop);
        }
        let answer = Answer { position, policy, result };
        if !denies(&answer.result)
            && let Some(replacement) = tool_call::replacement(&answer).or_else(|| message::replacement(&answer))
        {
            self.place.fits(replacement.len())?;
        }
        let at = self.answers.partition_point(|other| other.position < position);
        let stops = ends(&answer.result);
        if stops {
            self.answers.truncate(at);
        }
        self.answers.insert(at, answer);
        Ok(if stops { Flow::Stop } else { Flow::GoOn })
    }

    /// The event as the handler at this position gets to see it: as it came, but for chained hooks, and for tool calls
    /// that policies changed. Answers of the handlers before it have to be there.
    ///
    /// # Errors
    /// The event is not the object it was said to be.
    pub(crate) fn event(&mut self, position: usize) -> Result<Bytes, String> {
        let before = self.answers.partition_point(|answer| answer.position < position);
        let shown = match (self.hook.row().kind, self.hook.row().result) {
            (_, ResultKind::ToolCall) => tool_call::shown(&self.answers[..before]),
            (Calling::Chained, ResultKind::Message) => message::shown(&self.answers[..before]),
            _ => None,
        };
        let Some((by, member)) = shown else { return Ok(self.place.event.clone()) };
        if let Some((known, event)) = &self.shown
            && *known == by
        {
            return Ok(event.clone());
        }
        let event = self.place.with(&member)?;
        self.shown = Some((by, event.clone()));
        Ok(event)
    }

    /// Bytes that the merging will read: beyond some, it does not belong on the data thread.
    pub(crate) fn weight(&self) -> usize {
        let answers: usize = self.answers.iter().map(|answer| answer.result.encoded_len()).sum();
        let event = if self.place.name.is_some() && !self.answers.is_empty() { self.place.event.len() } else { 0 };
        answers.saturating_add(event)
    }

    /// Merges what was added.
    pub(crate) fn finish(self) -> Merged {
        let Self { hook, answers, place, .. } = self;
        match hook.row().result {
            ResultKind::Nothing => Merged::default(),
            ResultKind::ToolCall => tool_call::merge(answers, &place),
            ResultKind::Prompt => prompt::merge(answers),
            ResultKind::Message => message::merge(answers),
            ResultKind::Gate => gate::merge(answers),
            ResultKind::Claim => claim::merge(answers),
            ResultKind::Finalize => finalize::merge(answers),
            ResultKind::Model => model::merge(answers),
            ResultKind::ExecEnvironment => exec_env::merge(answers),
            ResultKind::Evaluation => evaluation::merge(answers),
            ResultKind::SubagentSpawn => subagent::merge_spawn(answers),
            ResultKind::SubagentDelivery => subagent::merge_delivery(answers),
        }
    }
}

/// The member of the event that answers take the place of.
#[derive(Debug)]
pub(super) struct Place {
    event: Bytes,
    most: usize,
    name: Option<&'static str>,
    /// Looked for once somebody changes it.
    slot: OnceLock<Result<Slot, String>>,
}

impl Place {
    fn new(hook: Hook, event: Bytes, most: usize) -> Self {
        let name = match hook {
            Hook::BeforeToolCall => Some("params"),
            Hook::ReplyPayloadSending => Some("payload"),
            Hook::ToolResultPersist | Hook::BeforeMessageWrite => Some("message"),
            _ => None,
        };
        Self { event, most, name, slot: OnceLock::new() }
    }

    fn slot(&self) -> Result<&Slot, String> {
        let find = || match self.name {
            Some(name) => Slot::find(self.event.clone(), name).map_err(|error| format!("changed an event: {error}")),
            None => Err("changed an event that cannot be changed".to_owned()),
        };
        self.slot.get_or_init(find).as_ref().map_err(Clone::clone)
    }

    /// The event as it came.
    pub(super) fn event(&self) -> Bytes {
        self.event.clone()
    }

    /// What stands there.
    pub(super) fn value(&self) -> Result<Option<Bytes>, String> {
        self.slot().map(Slot::value)
    }

    /// Whether the event can have so many bytes there.
    pub(super) fn fits(&self, bytes: usize) -> Result<(), String> {
        let bytes = self.slot()?.bytes_with(bytes);
        let most = self.most;
        if bytes <= most {
            return Ok(());
        }
        Err(format!("made the call {bytes} bytes long, at most {most} can be passed on"))
    }

    /// The event with this value there.
    pub(super) fn with(&self, value: &[u8]) -> Result<Bytes, String> {
        self.slot().map(|slot| slot.with(value))
    }
}
