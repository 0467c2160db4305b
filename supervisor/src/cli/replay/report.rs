//! What a replay found: counts by hook, and one decision for each tool call.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_proto::runtime::v1 as runtime;
use serde::Serialize;
use serde_json::Value;

use super::player::{Played, Published};
use super::trace::{Call, Trace};
use crate::cli::json;
use crate::cli::table::{Column, lines};
use crate::cli::terminal::{BAD, BOLD, DIM, GOOD, Terminal, WARN};
use crate::cli::text::{count, duration, safe, shorten};
use crate::cli::view::handler::Report as HandlerReport;
use crate::cli::view::hook_result;
use crate::domain::hook::Hook;

/// Characters of a tool call's parameters that a line shows.
const SUMMARY_CHARACTERS: usize = 32;

/// Counts of one hook.
#[derive(Debug, Default, Serialize)]
pub(crate) struct HookTally {
    hook: String,
    /// Calls that were made.
    calls: u64,
    /// Recorded hooks that no plugin wanted: no call was made.
    not_wanted: u64,
    go_on: u64,
    stop: u64,
    ask: u64,
    /// Calls that the supervisor did not answer.
    failed: u64,
    /// Handlers by outcome: allow, deny, error, timeout, absent, skipped.
    handlers: BTreeMap<String, u64>,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    #[serde(skip)]
    elapsed: Vec<u64>,
}

/// One tool call.
#[derive(Debug, Serialize)]
pub(crate) struct Decision {
    pub(crate) file: String,
    /// Position in the file.
    pub(crate) n: u64,
    pub(crate) tool: String,
    pub(crate) tool_call_id: String,
    pub(crate) params: Value,
    /// `go_on`, `stop`, `ask`, `not_wanted` (nobody asked: go on), or `failed` (a runtime stops where a guard guards).
    pub(crate) verdict: &'static str,
    /// Why not, or what is asked.
    pub(crate) reason: Option<String>,
    /// The handler that decided. `null`: everybody let it pass.
    pub(crate) decided_by: Option<HandlerReport>,
    /// All handlers, in order.
    pub(crate) handlers: Vec<HandlerReport>,
    /// Parameters that plugins put in place. `null`: unchanged.
    pub(crate) changed_params: Option<Value>,
    pub(crate) elapsed_us: Option<u64>,
}

/// Sums over all hooks.
#[derive(Debug, Default, Serialize)]
struct Totals {
    files: u64,
    /// Recorded hooks after the filters.
    hooks: u64,
    /// Recorded agent events.
    events: u64,
    /// Events that were published and taken in.
    events_published: u64,
    /// Events that nobody wanted: not published.
    events_not_wanted: u64,
    /// Events that were published and not taken in.
    events_rejected: u64,
    calls: u64,
    not_wanted: u64,
    go_on: u64,
    stop: u64,
    ask: u64,
    failed: u64,
}

/// What a replay prints with `--json`.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    hooks: Vec<&'a HookTally>,
    decisions: &'a [Decision],
    totals: &'a Totals,
}

/// Counts and decisions so far.
pub(crate) struct Report {
    hooks: BTreeMap<Hook, HookTally>,
    decisions: Vec<Decision>,
    totals: Totals,
    /// Why the first event that was not taken in was not.
    problem: Option<String>,
}

impl Report {
    /// Nothing played yet.
    pub(crate) fn new(traces: &[Trace]) -> Self {
        let totals = Totals {
            files: traces.len() as u64,
            hooks: traces.iter().map(|trace| trace.calls.len() as u64).sum(),
            events: traces.iter().map(|trace| trace.events.len() as u64).sum(),
            ..Totals::default()
        };
        Self { hooks: BTreeMap::new(), decisions: Vec::new(), totals, problem: None }
    }

    /// Adds what became of a call. Of a tool call: its decision.
    pub(crate) fn add(&mut self, file: &str, call: &Call, played: Played) -> Option<&Decision> {
        let tally = self.hooks.entry(call.hook).or_default();
        tally.hook = call.hook.name().to_owned();
        tally.count(&played);
        let totals = &mut self.totals;
        match &played {
            Played::NotWanted => totals.not_wanted += 1,
            Played::Failed { .. } => (totals.calls, totals.failed) = (totals.calls + 1, totals.failed + 1),
            Played::Answered { outcome, .. } => {
                totals.calls += 1;
                match verdict(outcome) {
                    "go_on" => totals.go_on += 1,
                    "ask" => totals.ask += 1,
                    _ => totals.stop += 1,
                }
            }
        }
        if call.hook != Hook::BeforeToolCall {
            return None;
        }
        self.decisions.push(Decision::new(file, call, played));
        self.decisions.last()
    }

    /// Adds what became of an event.
    pub(crate) fn add_event(&mut self, published: Published) {
        match published {
            Published::NotWanted => self.totals.events_not_wanted += 1,
            Published::Accepted => self.totals.events_published += 1,
            Published::Rejected(why) => {
                self.totals.events_rejected += 1;
                self.problem.get_or_insert(why);
            }
        }
    }

    /// Some call was not answered, or some event not taken in.
    pub(crate) fn has_failures(&self) -> bool {
        self.totals.failed > 0 || self.totals.events_rejected > 0
    }

    /// For `--json`. Percentiles are computed here.
    pub(crate) fn document(&mut self) -> Document<'_> {
        self.finish();
        Document { hooks: self.hooks.values().collect(), decisions: &self.decisions, totals: &self.totals }
    }

    /// Lines that close a replay.
    pub(crate) fn summary(&mut self, terminal: &Terminal) -> Vec<String> {
        self.finish();
        const COLUMNS: &[Column] = &[
            Column::new("HOOK"),
            Column::new("CALLS").right(),
            Column::new("NOT WANTED").right().rank(2),
            Column::new("GO ON").right(),
            Column::new("STOP").right(),
            Column::new("ASK").right().rank(3),
            Column::new("FAILED").right().rank(1),
            Column::new("P50").right().rank(5),
            Column::new("P99").right().rank(4),
            Column::new("HANDLERS").cut(),
        ];
        let time =
            |micros: Option<u64>| micros.map_or("-".to_owned(), |micros| duration(Duration::from_micros(micros)));
        let row = |tally: &HookTally| {
            let handlers: Vec<_> = tally.handlers.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
            vec![
                tally.hook.clone(),
                tally.calls.to_string(),
                tally.not_wanted.to_string(),
                tally.go_on.to_string(),
                tally.stop.to_string(),
                tally.ask.to_string(),
                tally.failed.to_string(),
                time(tally.p50_us),
                time(tally.p99_us),
                handlers.join(", "),
            ]
        };
        let (called, silent): (Vec<_>, Vec<_>) = self.hooks.values().partition(|tally| tally.calls > 0);
        let mut summary = vec![String::new()];
        if !called.is_empty() {
            let rows: Vec<_> = called.into_iter().map(row).collect();
            let table = lines(COLUMNS, &rows, terminal.width);
            let head = |(index, line): (usize, String)| if index == 0 { terminal.paint(DIM, line) } else { line };
            summary.extend(table.into_iter().enumerate().map(head));
        }
        if !silent.is_empty() {
            let number: u64 = silent.iter().map(|tally| tally.not_wanted).sum();
            let what = count(silent.len() as u64, "hook");
            summary.push(format!("{what} that no plugin wants ({} recorded): no call was made", number));
        }
        let totals = &self.totals;
        if totals.events_published + totals.events_not_wanted + totals.events_rejected > 0 {
            let why = self.problem.as_deref().map(|why| format!(" ({})", safe(why))).unwrap_or_default();
            summary.push(format!(
                "{}: {} published, {} that nobody wants, {} not taken in{why}",
                count(totals.events, "recorded event"),
                totals.events_published,
                totals.events_not_wanted,
                totals.events_rejected,
            ));
        }
        summary.push(terminal.paint(BOLD, self.sentence()));
        summary
    }

    /// The totals in a sentence.
    pub(crate) fn sentence(&self) -> String {
        let totals = &self.totals;
        format!(
            "{}, {}, {}: {} went on, {} stopped, {} asked, {} not answered",
            count(totals.files, "trace"),
            count(totals.hooks, "recorded hook"),
            count(totals.calls, "call"),
            totals.go_on,
            totals.stop,
            totals.ask,
            totals.failed
        )
    }

    fn finish(&mut self) {
        for tally in self.hooks.values_mut() {
            tally.elapsed.sort_unstable();
            tally.p50_us = percentile(&tally.elapsed, 50);
            tally.p99_us = percentile(&tally.elapsed, 99);
        }
    }
}

impl HookTally {
    fn count(&mut self, played: &Played) {
        match played {
            Played::NotWanted => self.not_wanted += 1,
            Played::Failed { .. } => (self.calls, self.failed) = (self.calls + 1, self.failed + 1),
            Played::Answered { outcome, elapsed } => {
                self.calls += 1;
                match verdict(outcome) {
                    "go_on" => self.go_on += 1,
                    "ask" => self.ask += 1,
                    _ => self.stop += 1,
                }
                self.elapsed.push(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
                for handler in &outcome.handlers {
                    *self.handlers.entry(crate::cli::view::outcome(handler.outcome)).or_default() += 1;
                }
            }
        }
    }
}

/// Anything but GO_ON and ASK, known or not, is a no.
fn verdict(outcome: &runtime::HookOutcome) -> &'static str {
    match runtime::HookVerdict::try_from(outcome.verdict) {
        Ok(runtime::HookVerdict::GoOn) => "go_on",
        Ok(runtime::HookVerdict::Ask) => "ask",
        Ok(runtime::HookVerdict::Stop | runtime::HookVerdict::Unspecified) | Err(_) => "stop",
    }
}

/// By the nearest rank; `sorted` ascending.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

impl Decision {
    fn new(file: &str, call: &Call, played: Played) -> Self {
        let mut decision = Self {
            file: file.to_owned(),
            n: call.n,
            tool: call.tool_name(),
            tool_call_id: call.text("toolCallId").unwrap_or_default().to_owned(),
            params: call.params().cloned().map_or(Value::Null, Value::Object),
            verdict: "not_wanted",
            reason: None,
            decided_by: None,
            handlers: Vec::new(),
            changed_params: None,
            elapsed_us: None,
        };
        match played {
            Played::NotWanted => {}
            Played::Failed { error, blocked } => {
                decision.verdict = "failed";
                let end = if blocked {
                    ": a guard guards it, so it is blocked"
                } else {
                    ": nothing guards it, so it goes on"
                };
                decision.reason = Some(format!("{error}{end}"));
            }
            Played::Answered { outcome, elapsed } => {
                let outcome = *outcome;
                decision.verdict = verdict(&outcome);
                let question = outcome.approval.and_then(|approval| approval.request).map(|request| request.title);
                decision.reason = question.or(Some(outcome.reason)).filter(|reason| !reason.is_empty());
                let changed = hook_result::changed_params(outcome.result.as_deref());
                decision.changed_params = changed.filter(|params| *params != decision.params);
                decision.decided_by = outcome.decided_by.map(|report| HandlerReport::from(*report));
                decision.handlers = outcome.handlers.into_iter().map(HandlerReport::from).collect();
                decision.elapsed_us = Some(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
            }
        }
        decision
    }

    /// What the tool call is about, in few characters: its command, its path, or its parameters.
    pub(crate) fn summary(&self) -> String {
        let text = |member| self.params.get(member).and_then(Value::as_str).map(str::to_owned);
        let whole = text("command").or_else(|| text("path")).unwrap_or_else(|| json::line(&self.params));
        let harmless = safe(&whole).into_owned();
        shorten(&harmless, SUMMARY_CHARACTERS).into_owned()
    }

    /// The verdict in words, coloured.
    pub(crate) fn verdict_words(&self, terminal: &Terminal) -> String {
        let (word, style) = match self.verdict {
            "go_on" => ("go on   ", GOOD),
            "stop" => ("stop    ", BAD),
            "ask" => ("ask     ", WARN),
            "failed" => ("failed  ", BAD),
            _ => ("no guard", DIM),
        };
        terminal.paint(style, word)
    }

    /// Who decided, and why.
    pub(crate) fn who(&self) -> String {
        let mut who = match (&self.decided_by, &self.reason) {
            _ if self.verdict == "not_wanted" => "no plugin wants to be asked".to_owned(),
            (Some(decider), Some(reason)) if reason.starts_with(&decider.plugin_id) => reason.clone(),
            (Some(decider), reason) => {
                let why = reason.clone().or_else(|| decider.message.clone());
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                format!("{} ({}){why}", decider.plugin_id, decider.outcome)
            }
            (None, Some(reason)) => reason.clone(),
            (None, None) => {
                let with = |outcome: &str| {
                    let names = self.handlers.iter().filter(|handler| handler.outcome == outcome && !handler.recheck);
                    names.map(|handler| handler.plugin_id.as_str()).collect::<Vec<_>>().join(", ")
                };
                match with("allow") {
                    names if names.is_empty() => "nobody objected".to_owned(),
                    names => format!("allowed by {names}"),
                }
            }
        };
        if self.changed_params.is_some() {
            who.push_str("; parameters changed");
        }
        if let Some(elapsed) = self.elapsed_us {
            who.push_str(&format!(" ({})", duration(Duration::from_micros(elapsed))));
        }
        safe(&who).into_owned()
    }

    /// One line: file, tool, what about, verdict, who and why.
    pub(crate) fn line(&self, terminal: &Terminal, name_width: usize) -> String {
        let head = format!(
            "{:<name_width$}  {:<8}  {:<SUMMARY_CHARACTERS$}  ",
            safe(&self.file),
            shorten(&safe(&self.tool), 8),
            self.summary(),
        );
        let who = self.who();
        // The verdict takes 8 columns and 2 blanks.
        let room =
            terminal.width.map_or(usize::MAX, |width| usize::from(width).saturating_sub(head.chars().count() + 10));
        format!("{head}{}  {}", self.verdict_words(terminal), shorten(&who, room.max(16)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), Some(50));
        assert_eq!(percentile(&hundred, 99), Some(99));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn an_unknown_verdict_is_a_no() {
        let outcome = |verdict| runtime::HookOutcome { verdict, ..Default::default() };
        assert_eq!([0, 1, 2, 3, 77].map(|value| verdict(&outcome(value))), ["stop", "go_on", "stop", "ask", "stop"]);
    }
}
