//! One call on its way through its handlers: who is asked when, and what each answer does to the call.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1 as types;
use outrigger_proto::types::v1::HandlerOutcome as Fared;
use tokio::time::Instant;

use super::ask::{Asking, absent_state, why_absent};
use super::{Call, most};
use crate::domain::guard::OnAbsent;
use crate::domain::hook::{Hook, Kind};
use crate::service::approvals::Asker;
use crate::service::invocation::scan;
use crate::service::registry::{Asked, Snapshot, Table, Unserved};
use crate::service::results::{self, Flow, Merge, Merged};
use crate::service::view::View;

/// Longest reason of an outcome, in characters (`HookOutcome.reason`).
const MAX_REASON: usize = 2200;

/// Why a call does not go on.
pub(super) struct Stop {
    pub(super) reason: String,
    pub(super) report: Box<types::HandlerReport>,
    pub(super) result: Option<Box<types::HookResult>>,
}

/// How a handler fared whose answer counts.
struct Told {
    fared: Fared,
    elapsed: Duration,
    message: String,
}

/// A call and what became of it so far. A handler's position is its place in the hook's table.
pub(super) struct Round<'a> {
    pub(super) call: &'a Call,
    snapshot: &'a Snapshot,
    /// The newest agent event published before.
    after: u64,
    merge: Merge,
    /// Handlers that gave an answer other than "no opinion".
    told: BTreeMap<usize, Told>,
    /// Handlers that let the call pass.
    allowed: Vec<usize>,
    /// The first handler that failed or was absent; for targeted claims.
    failed: Option<Box<types::HandlerReport>>,
    /// How each handler of an evaluation fared.
    judged: Vec<(usize, types::HandlerReport)>,
    pub(super) reports: Vec<types::HandlerReport>,
    pub(super) rechecked: u32,
}

impl<'a> Round<'a> {
    pub(super) fn new(call: &'a Call, snapshot: &'a Snapshot, after: u64) -> Self {
        Self {
            call,
            snapshot,
            after,
            merge: Merge::new(call.hook, call.asked.event_json.clone(), most(call)),
            told: BTreeMap::new(),
            allowed: Vec::new(),
            failed: None,
            judged: Vec::new(),
            reports: Vec::new(),
            rechecked: 0,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.snapshot.epoch
    }

    fn table(&self) -> Option<&'a Table> {
        self.snapshot.table(self.call.hook)
    }

    fn one(&self, position: usize) -> Option<&'a Asked> {
        self.table()?.asked.get(position)
    }

    /// Some handler gave an answer other than "no opinion".
    pub(super) fn answered(&self) -> bool {
        !self.told.is_empty()
    }

    /// Asks everybody, as far as the call goes.
    pub(super) async fn run(&mut self) -> Result<(), Box<Stop>> {
        let Some(table) = self.table() else { return Ok(()) };
        for unserved in &table.unserved {
            if unserved.tools.matches(&self.call.asked.tool_name) {
                self.unserved(unserved)?;
            }
        }
        let mut position = 0;
        while let Some(one) = table.asked.get(position) {
            position += 1;
            if !self.wants(one) {
                continue;
            }
            let flow = match self.beside(table, position - 1) {
                Some(together) => {
                    position = together.last().map_or(position, |last| last + 1);
                    self.ask_together(table, together).await?
                }
                None => {
                    let event = self.event(position - 1);
                    let asking = match event {
                        Ok(event) => self.call.ask(one, event, self.after, false).await,
                        Err(why) => Asking::absent(why),
                    };
                    self.take(position - 1, one, asking)?
                }
            };
            if flow == Flow::Stop {
                break;
            }
        }
        Ok(())
    }

    fn wants(&self, one: &Asked) -> bool {
        let target = &self.call.asked.target_plugin_id;
        // A conversation's binding has one owner; without its name nobody is asked.
        let targeted = self.call.hook.row().kind == Kind::Claim && !target.is_empty();
        let targeted = targeted || self.call.hook == Hook::InboundClaim;
        one.wants(self.call) && (!targeted || one.part.view.id.as_str() == target)
    }

    /// What a handler gets to see; chained handlers and policies change it for those after them.
    fn event(&mut self, position: usize) -> Result<Bytes, String> {
        if self.told.is_empty() { Ok(self.call.asked.event_json.clone()) } else { self.merge.event(position) }
    }

    /// The positions of this handler and those after it that are asked together; `None` where it is asked alone.
    fn beside(&self, table: &Table, first: usize) -> Option<Vec<usize>> {
        let kind = self.call.hook.row().kind;
        let free = |one: &Asked| {
            kind == Kind::Evaluate || (kind != Kind::Chained && one.handler().side_effect_free && !one.handler().policy)
        };
        if !table.asked.get(first).is_some_and(free) {
            return None;
        }
        let rest = table.asked.iter().enumerate().skip(first).filter(|(_, one)| self.wants(one));
        let together: Vec<usize> = rest.take_while(|(_, one)| free(one)).map(|(position, _)| position).collect();
        (together.len() > 1).then_some(together)
    }

    /// Asks several at once and takes their answers in order: the slowest is waited for, not all one after the other.
    /// Once one ends the call, only those before it are waited for.
    async fn ask_together(&mut self, table: &Table, together: Vec<usize>) -> Result<Flow, Box<Stop>> {
        let mut events = Vec::with_capacity(together.len());
        for position in &together {
            events.push((*position, self.event(*position)));
        }
        let (call, after) = (self.call, self.after);
        let mut asks: FuturesUnordered<_> = events
            .into_iter()
            .filter_map(|(position, event)| Some((position, table.asked.get(position)?, event)))
            .map(|(position, one, event)| async move {
                let asking = match event {
                    Ok(event) => call.ask(one, event, after, false).await,
                    Err(why) => Asking::absent(why),
                };
                (position, one, asking)
            })
            .collect();
        let mut answers = BTreeMap::new();
        let mut last = usize::MAX;
        while let Some((position, one, asking)) = asks.next().await {
            if self.ends(one, &asking) {
                last = last.min(position);
            }
            answers.insert(position, (one, asking));
            let before = together.iter().filter(|position| **position <= last).count();
            if answers.range(..=last).count() == before {
                break;
            }
        }
        // Those that are still asked are not wanted any more.
        drop(asks);
        let mut flow = Ok(Flow::GoOn);
        for (position, (one, asking)) in answers {
            match flow {
                Ok(Flow::GoOn) => flow = self.take(position, one, asking),
                // It came before the call had ended, so it counts for the handler, though not for the call.
                _ => one.note(&asking),
            }
        }
        flow
    }

    /// The answer ends the call, whatever later handlers say.
    fn ends(&self, one: &Asked, asking: &Asking) -> bool {
        asking.result.as_deref().is_some_and(results::ends) || self.blocks(one, asking.fared)
    }

    /// A handler that fared so blocks the call.
    fn blocks(&self, one: &Asked, fared: Fared) -> bool {
        match fared {
            Fared::Allow | Fared::Deny => false,
            _ if !self.call.hook.is_guard() => false,
            Fared::Absent => one.part.on_absent(self.call.hook) == OnAbsent::Deny,
            _ => true,
        }
    }

    /// Takes in one handler's answer; `Err` where it ends the call for good.
    fn take(&mut self, position: usize, one: &Asked, mut asking: Asking) -> Result<Flow, Box<Stop>> {
        let mut flow = Flow::GoOn;
        let result = asking.result.take();
        if let Some(result) = result {
            match self.merge.add(position, one.handler().policy, *result) {
                Ok(after) => flow = after,
                Err(why) => {
                    asking.fared = Fared::Error;
                    asking.message = why;
                }
            }
            if asking.fared != Fared::Error {
                let told = Told { fared: asking.fared, elapsed: asking.elapsed, message: asking.message.clone() };
                self.told.insert(position, told);
            }
        }
        one.note(&asking);
        let blocks = self.blocks(one, asking.fared);
        let kind = self.call.hook.row().kind;
        let judged = kind == Kind::Evaluate;
        let missed =
            kind == Kind::Claim && self.failed.is_none() && !matches!(asking.fared, Fared::Allow | Fared::Deny);
        if blocks || judged || missed || self.call.asked.report_handlers {
            let report = report(one, asking.fared, asking.elapsed, &asking.message, false);
            self.keep(&report);
            if blocks {
                return Err(stop(&one.part.view, report, &asking.message, None));
            }
            if judged {
                self.judged.push((position, *report));
            } else if missed {
                self.failed = Some(report);
            }
        }
        if asking.fared == Fared::Allow {
            self.allowed.push(position);
        }
        Ok(flow)
    }

    /// Counts a guard that nobody serves; `Err` where that ends the call.
    fn unserved(&mut self, unserved: &Unserved) -> Result<(), Box<Stop>> {
        let view = &unserved.part.view;
        let message = match &unserved.part.session {
            Some(_) => "serves no handler for this, which it declares to guard".to_owned(),
            None => why_absent(view),
        };
        unserved.counts.record(None, Fared::Absent, Instant::now(), Duration::ZERO);
        let report = told(view, "", unserved.policy, Fared::Absent, Duration::ZERO, &message, false);
        self.keep(&report);
        if unserved.on_absent == OnAbsent::Deny { Err(stop(view, report, &message, None)) } else { Ok(()) }
    }

    /// What all answers come to.
    pub(super) async fn merged(&mut self) -> Merged {
        let empty = Merge::new(self.call.hook, Bytes::new(), 0);
        let merge = std::mem::replace(&mut self.merge, empty);
        scan(merge.weight(), move || merge.finish())
            .await
            .unwrap_or_else(|| Merged { stopped: true, ..Merged::default() })
    }

    /// Tells authors what of their answers had no effect, and counts what failed after all.
    pub(super) fn tell(&self, merged: &Merged) {
        for (position, notice) in &merged.notices {
            if let Some(one) = self.one(*position) {
                one.session.notice(wire::NoticeKind::FieldIgnored, 0, &one.handler().id, notice.clone());
            }
        }
        for (position, why) in &merged.failed {
            if let Some(one) = self.one(*position) {
                one.session.notice(wire::NoticeKind::ResultInvalid, 0, &one.handler().id, why.clone());
            }
        }
    }

    /// Asks once more whoever allowed something else than what will run: in a recheck only a refusal counts.
    pub(super) async fn recheck(&mut self, merged: &Merged) -> Result<(), Box<Stop>> {
        let Some(event) = &merged.event else { return Ok(()) };
        let Some(table) = self.table() else { return Ok(()) };
        let policy = |position: usize| table.asked.get(position).is_some_and(|one| one.handler().policy);
        for position in std::mem::take(&mut self.allowed) {
            // It saw what the policies before it left, and knows its own changes, if they count.
            let unseen = |by: &usize| *by != position && !(policy(*by) && *by < position);
            let Some(one) = table.asked.get(position) else { continue };
            if !merged.changed_by.iter().any(unseen) && !merged.ignored.contains(&position) {
                continue;
            }
            self.rechecked += 1;
            let asking = self.call.ask(one, event.clone(), self.after, true).await;
            one.note(&asking);
            let blocks = asking.fared == Fared::Deny || self.blocks(one, asking.fared);
            if blocks || self.call.asked.report_handlers {
                let report = report(one, asking.fared, asking.elapsed, &asking.message, true);
                self.keep(&report);
                if blocks {
                    return Err(stop(&one.part.view, report, &asking.message, asking.result));
                }
            }
        }
        Ok(())
    }

    /// The call stops, as this guard's answer cannot be carried out.
    pub(super) fn fails(&mut self, position: usize, why: &str) -> Box<Stop> {
        let report = self.report_of(position, Fared::Error, why);
        self.keep(&report);
        let reason = self.denied(position, why);
        Box::new(Stop { reason, report, result: None })
    }

    /// The reason of a call that a handler stopped, its own where none is given here; counts that.
    pub(super) fn denied(&self, position: usize, why: &str) -> String {
        let Some(one) = self.one(position) else { return String::new() };
        let told = self.told.get(&position).map_or("", |told| told.message.as_str());
        match [why, told].into_iter().find(|why| !why.is_empty()) {
            Some(why) => reason(&one.part.view, why),
            None => reason(&one.part.view, &format!("blocked by {}", one.handler().id)),
        }
    }

    /// How a handler fared that gave an answer.
    pub(super) fn report(&self, position: usize) -> Box<types::HandlerReport> {
        match (self.one(position), self.told.get(&position)) {
            (Some(one), Some(told)) => report(one, told.fared, told.elapsed, &told.message, false),
            _ => Box::default(),
        }
    }

    pub(super) fn report_of(&self, position: usize, fared: Fared, message: &str) -> Box<types::HandlerReport> {
        self.one(position).map(|one| report(one, fared, Duration::ZERO, message, false)).unwrap_or_default()
    }

    /// Keeps a report for a caller who wants all of them.
    fn keep(&mut self, report: &types::HandlerReport) {
        if self.call.asked.report_handlers {
            self.reports.push(report.clone());
        }
    }

    /// Who asks for an approval.
    pub(super) fn asker(&self, position: usize) -> Option<Asker> {
        let one = self.one(position)?;
        let handler = one.handler();
        Some(Asker {
            view: std::sync::Arc::clone(&one.part.view),
            name: one.part.name.clone(),
            handler: handler.id.clone(),
            policy: handler.policy,
            generation: one.session.generation,
            most: handler.pending_approvals,
        })
    }

    /// Verdicts of an evaluation, those who failed or have none included.
    pub(super) fn evaluations(&mut self, given: Vec<(usize, types::Evaluation)>) -> Vec<runtime::HandlerEvaluation> {
        let mut given: BTreeMap<usize, types::Evaluation> = given.into_iter().collect();
        let judged = std::mem::take(&mut self.judged).into_iter();
        judged
            .map(|(position, report)| runtime::HandlerEvaluation {
                handler: Some(report),
                evaluation: given.remove(&position),
            })
            .collect()
    }

    /// The plugin at each position.
    pub(super) fn plugins(&self) -> Vec<String> {
        let asked = self.table().map(|table| table.asked.as_slice()).unwrap_or_default();
        asked.iter().map(|one| one.part.view.id.to_string()).collect()
    }

    /// Why a targeted claim was not handled, and who failed, if that is why.
    pub(super) fn claim_miss(&self) -> (runtime::ClaimMiss, Option<Box<types::HandlerReport>>) {
        let target = &self.call.asked.target_plugin_id;
        if self.call.hook.row().kind != Kind::Claim || target.is_empty() || self.answered() {
            return (runtime::ClaimMiss::Unspecified, None);
        }
        let asked = self.table().map(|table| table.asked.as_slice()).unwrap_or_default();
        let miss = if !self.snapshot.serves(target) {
            runtime::ClaimMiss::PluginMissing
        } else if !asked.iter().any(|one| one.part.view.id.as_str() == target) {
            runtime::ClaimMiss::NoHandler
        } else {
            match &self.failed {
                // It did not say no: it could not be asked.
                Some(report) if report.outcome() == Fared::Absent => runtime::ClaimMiss::PluginMissing,
                Some(_) => runtime::ClaimMiss::Error,
                None => runtime::ClaimMiss::Declined,
            }
        };
        (miss, self.failed.clone())
    }
}

impl Asked {
    /// Counts how the handler fared, and logs a failure.
    pub(super) fn note(&self, asking: &Asking) {
        if let Some(open) = self.counts.record(asking.pass, asking.fared, asking.at, asking.elapsed) {
            let (view, id) = (&self.part.view, &self.handler().id);
            let text = format!("the breaker of handler `{id}` opened for {open:.1?}");
            tracing::warn!(plugin = %view.id, handler = id, "{text}");
            view.logs.say(SystemTime::now(), self.session.generation, "warn", text);
        }
        if matches!(asking.fared, Fared::Error | Fared::Timeout) {
            let (handler, hook) = (self.handler(), self.handler().hook.name());
            let text = format!("handler `{}` of {hook} {}", handler.id, asking.message);
            self.part.view.logs.say(SystemTime::now(), self.session.generation, "warn", text);
        }
    }

    /// The handler is for this call.
    pub(super) fn wants(&self, call: &Call) -> bool {
        self.handler().wants(call)
    }
}

/// How one handler fared.
pub(super) fn report(
    one: &Asked,
    fared: Fared,
    elapsed: Duration,
    message: &str,
    recheck: bool,
) -> Box<types::HandlerReport> {
    let handler = one.handler();
    told(&one.part.view, &handler.id, handler.policy, fared, elapsed, message, recheck)
}

fn told(
    view: &View,
    handler: &str,
    policy: bool,
    fared: Fared,
    elapsed: Duration,
    message: &str,
    recheck: bool,
) -> Box<types::HandlerReport> {
    Box::new(types::HandlerReport {
        plugin_id: view.id.to_string(),
        handler_id: handler.to_owned(),
        outcome: fared as i32,
        elapsed: Some(crate::service::wire::duration(elapsed)),
        message: crate::domain::text::clean(message, 500),
        tool_policy: policy,
        recheck,
        plugin_state: if fared == Fared::Absent { absent_state(view) as i32 } else { 0 },
    })
}

fn stop(
    view: &View,
    report: Box<types::HandlerReport>,
    message: &str,
    result: Option<Box<types::HookResult>>,
) -> Box<Stop> {
    Box::new(Stop { reason: reason(view, message), report, result })
}

fn reason(view: &View, why: &str) -> String {
    view.denied();
    let reason = format!("{}: {why}", view.id);
    match reason.char_indices().nth(MAX_REASON) {
        Some((end, _)) => reason[..end].to_owned(),
        None => reason,
    }
}
