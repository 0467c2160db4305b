//! Why a plugin is as it is: failures with their evidence, and the last reclaim.

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::types::v1 as types;
use serde::Serialize;

use super::plugin::Plugin;
use super::{name, nonzero, text, time};

/// The answer of `why`.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// The plugin now.
    pub(crate) plugin: Plugin,
    /// One paragraph.
    pub(crate) summary: Option<String>,
    /// What an operator can do.
    pub(crate) advice: Vec<String>,
    /// Last failures, newest first.
    pub(crate) failures: Vec<Failure>,
    /// Last reclaim.
    pub(crate) last_reclaim: Option<Reclaim>,
}

/// One failure.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// When.
    pub(crate) time: Option<String>,
    /// Generation.
    pub(crate) generation: Option<u64>,
    /// How far the launch had come.
    pub(crate) phase: String,
    /// Cause.
    pub(crate) cause: String,
    /// Cause in a sentence.
    pub(crate) message: Option<String>,
    /// Exit status.
    pub(crate) exit_status: Option<i32>,
    /// Signal.
    pub(crate) signal: Option<u32>,
    /// Last lines of stderr.
    pub(crate) stderr_tail: Vec<String>,
    /// What was seen before it was killed.
    pub(crate) evidence: Vec<Evidence>,
}

/// One piece of evidence: a text, or why there is none.
#[derive(Debug, Serialize)]
pub(crate) struct Evidence {
    /// What it is.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: Option<String>,
    /// Why it could not be read.
    pub(crate) unreadable: Option<String>,
}

/// What a reclaim released.
#[derive(Debug, Serialize)]
pub(crate) struct Reclaim {
    /// Rising number.
    pub(crate) report_id: u64,
    /// Occasion.
    pub(crate) cause: String,
    /// Generation. `null`: all.
    pub(crate) generation: Option<u64>,
    /// Session, where the occasion is a session's or run's.
    pub(crate) session_key: Option<String>,
    /// Run, where the occasion is a run's.
    pub(crate) run_id: Option<String>,
    /// Beginning.
    pub(crate) started_at: Option<String>,
    /// End. `null`: still going on.
    pub(crate) finished_at: Option<String>,
    /// What was done, by kind.
    pub(crate) items: Vec<ReclaimedItem>,
    /// What failed.
    pub(crate) failures: Vec<ReclaimFailure>,
}

/// Counts of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct ReclaimedItem {
    /// Kind.
    pub(crate) kind: String,
    /// Removed, cancelled, cleared or ended.
    pub(crate) released: u64,
    /// Kept on purpose.
    pub(crate) kept: u64,
    /// Not yet released.
    pub(crate) failed: u64,
}

/// One thing that could not be released.
#[derive(Debug, Serialize)]
pub(crate) struct ReclaimFailure {
    /// Which.
    pub(crate) subject: String,
    /// Why.
    pub(crate) message: String,
}

impl From<admin::ExplainPluginResponse> for Explanation {
    fn from(wire: admin::ExplainPluginResponse) -> Self {
        Self {
            plugin: wire.plugin.unwrap_or_default().into(),
            summary: text(wire.summary),
            advice: wire.advice,
            failures: wire.failures.into_iter().map(Failure::from).collect(),
            last_reclaim: wire.last_reclaim.map(Reclaim::from),
        }
    }
}

impl From<admin::explain_plugin_response::Failure> for Failure {
    fn from(wire: admin::explain_plugin_response::Failure) -> Self {
        Self {
            time: time(wire.time),
            generation: nonzero(wire.generation),
            phase: name!(admin::LaunchPhase, "LAUNCH_PHASE_", wire.phase),
            cause: name!(admin::FailureCause, "FAILURE_CAUSE_", wire.cause),
            message: text(wire.message),
            exit_status: wire.exit_status,
            signal: nonzero(wire.signal),
            stderr_tail: wire.stderr_tail,
            evidence: wire.evidence.into_iter().map(Evidence::from).collect(),
        }
    }
}

impl From<admin::Evidence> for Evidence {
    fn from(wire: admin::Evidence) -> Self {
        use admin::evidence::Content;
        let (text, unreadable) = match wire.content {
            Some(Content::Text(text)) => (Some(text), None),
            Some(Content::Unreadable(why)) => (None, Some(why)),
            None => (None, None),
        };
        Self { name: wire.name, text, unreadable }
    }
}

impl From<types::ReclaimReport> for Reclaim {
    fn from(wire: types::ReclaimReport) -> Self {
        Self {
            report_id: wire.report_id,
            cause: name!(types::ReclaimCause, "RECLAIM_CAUSE_", wire.cause),
            generation: nonzero(wire.generation),
            session_key: text(wire.session_key),
            run_id: text(wire.run_id),
            started_at: time(wire.started_at),
            finished_at: time(wire.finished_at),
            items: wire
                .items
                .into_iter()
                .map(|item| ReclaimedItem {
                    kind: name!(types::OwnedKind, "OWNED_KIND_", item.kind),
                    released: item.released,
                    kept: item.kept,
                    failed: item.failed,
                })
                .collect(),
            failures: wire
                .failures
                .into_iter()
                .map(|failure| ReclaimFailure { subject: failure.subject, message: failure.message })
                .collect(),
        }
    }
}
