//! Events that plugins emit: on streams of their own, within their rate, and always with their name on them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use outrigger_proto::plugin::v1::EmitEventRequest;
use outrigger_proto::types::v1::{self as types, Provenance, Refusal, RefusalReason};
use tokio::time::Instant;

use super::subscriber::Standing;
use crate::domain::json::{self, JsonError, ValueLimits};
use crate::domain::quota::Quota;
use crate::domain::rights::{Denial, Scope};
use crate::domain::text;
use crate::service::invocation::scan;
use crate::service::launch_state::{LaunchState, Phase};
use crate::service::runs::{Keyed, Run};
use crate::service::session::Session;

/// Name of the quota.
const QUOTA: &str = "events-per-minute";
/// Characters of an idempotency key.
const MAX_KEY: usize = 512;

/// So many events a minute, and as many at once.
#[derive(Debug, Default)]
pub(crate) struct Budget(Option<(Instant, f64)>);

impl Budget {
    /// Takes one.
    ///
    /// # Errors
    /// After what time one is free.
    pub(crate) fn take(&mut self, per_minute: u64, now: Instant) -> Result<(), Duration> {
        // Beyond 2^53 the quota bounds nothing, and the float is near enough.
        let most = per_minute as f64;
        let left =
            self.0.map_or(most, |(then, left)| (left + now.duration_since(then).as_secs_f64() / 60.0 * most).min(most));
        let taken = left >= 1.0;
        self.0 = Some((now, if taken { left - 1.0 } else { left }));
        if taken {
            return Ok(());
        }
        Err(Duration::from_secs_f64(((1.0 - left) * 60.0 / most.max(1e-9)).min(3600.0)))
    }
}

fn refusal(reason: RefusalReason, message: impl AsRef<str>) -> Refusal {
    Refusal { reason: reason as i32, message: text::clean(message.as_ref(), 500), ..Default::default() }
}

fn field(name: &str, right: impl AsRef<str>) -> Refusal {
    let message = format!("{name}: {}", right.as_ref());
    Refusal { field: name.to_owned(), ..refusal(RefusalReason::FieldInvalid, message) }
}

fn not_granted(denial: &Denial) -> Refusal {
    Refusal {
        scope: denial.scope.name().to_owned(),
        tier: crate::service::wire::tier(denial.tier) as i32,
        remedy: text::clean(&denial.remedy, 500),
        ..refusal(RefusalReason::NotGranted, denial.to_string())
    }
}

/// Whose a stream is.
fn is_own(plugin: &str, stream: &str) -> bool {
    let rest = stream.strip_prefix(plugin);
    rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with('.') && rest.len() > 1))
}

/// Emits an event for a plugin; its number.
///
/// # Errors
/// The host's no.
pub(crate) async fn emit(launch: &LaunchState, request: EmitEventRequest) -> Result<u64, Box<Refusal>> {
    let plugin = launch.spec.id.as_str();
    let rights = &launch.spec.rights;
    let stream = request.stream.as_str();
    if text::units(stream) > 128 || stream.trim() != stream || stream.is_empty() || stream.chars().any(text::is_unsafe)
    {
        return Err(field("stream", "wants 1 to 128 characters without control characters, trimmed").into());
    }
    let own = is_own(plugin, stream);
    let scope = if own { Scope::EventsEmit } else { Scope::EventsHostStreams };
    if !own {
        let owner = stream.split('.').next().unwrap_or_default();
        let foreign = owner == plugin || launch.bus.knows(owner);
        if let Err(denial) = rights.decide(scope) {
            let remedy = format!("emit on `{plugin}` or `{plugin}.NAME`");
            let why = format!("stream `{stream}` is not one of this plugin");
            let no = Refusal { remedy, ..refusal(RefusalReason::StreamNotAllowed, why) };
            return Err(Box::new(Refusal { scope: denial.scope.name().to_owned(), ..no }));
        }
        if foreign {
            let why = format!("stream `{stream}` is that of plugin `{owner}`");
            return Err(refusal(RefusalReason::StreamNotAllowed, why).into());
        }
    }
    rights.decide(scope).map_err(|denial| not_granted(&denial))?;
    let provenance = match Provenance::try_from(request.provenance) {
        Ok(Provenance::Unspecified | Provenance::Plugin) => Provenance::Plugin,
        Ok(Provenance::Untrusted) => Provenance::Untrusted,
        Ok(Provenance::Host | Provenance::Owner) | Err(_) => {
            return Err(field("provenance", "wants PLUGIN or UNTRUSTED").into());
        }
    };
    let key = request.idempotency_key.trim();
    if text::units(key) > MAX_KEY {
        return Err(field("idempotency_key", format!("wants 1 to {MAX_KEY} characters")).into());
    }
    let session = session(launch)?;
    let run = named_run(launch, &session, &request)?;
    let data = stamped(launch, request.data_json.clone()).await?;
    if !own {
        check_host_stream(stream, &data)?;
    }
    // Nothing waits from here on: what is checked still holds when it is published.
    fence(launch, &session, request.invocation_id)?;
    if run.gone.is_cancelled() {
        return Err(refusal(RefusalReason::RunEnded, "the run has ended").into());
    }
    let (runs, id) = (&launch.runs, &launch.spec.id);
    let prints = (!key.is_empty()).then(|| {
        let request = [stream.as_bytes(), &request.data_json, &request.provenance.to_le_bytes()];
        (runs.print(&[key.as_bytes()]), runs.print(&request))
    });
    if let Some((key, request)) = prints {
        match runs.keyed(&run, id, key, request) {
            Keyed::New => {}
            Keyed::Done(seq) => return Ok(seq),
            Keyed::Mismatch => {
                let why = "the idempotency key was used with another request";
                return Err(refusal(RefusalReason::IdempotencyMismatch, why).into());
            }
            Keyed::Full => {
                let why = "the plugin has too many idempotency keys that are remembered";
                return Err(refusal(RefusalReason::IdempotencyFull, why).into());
            }
        }
    }
    charge(launch, scope)?;
    let session = run.session();
    let event = types::AgentEvent {
        run_id: run.id.to_string(),
        stream: request.stream.clone(),
        data_json: data,
        seq: 0,
        time: Some(crate::service::wire::timestamp(SystemTime::now())),
        session_key: session.key.clone(),
        session_id: session.id.clone(),
        agent_id: session.agent_id.clone(),
        plugin_id: plugin.to_owned(),
        provenance: provenance as i32,
        schema_version: 0,
        terminal: false,
        runtime_id: run.runtime_id.to_string(),
        trace: None,
    };
    let seq = launch.bus.publish(&run.runtime_id, &run.id, &session, &event);
    if run.end().is_none() {
        // What comes while the run settles is not waited for.
        run.note_event(seq);
    }
    if let Some((key, request)) = prints {
        runs.remember(&run, id, key, request, seq);
    }
    Ok(seq)
}

fn session(launch: &LaunchState) -> Result<Arc<Session>, Box<Refusal>> {
    match &*launch.phase().borrow() {
        Phase::Registered(session) => Ok(Arc::clone(session)),
        _ => Err(pending()),
    }
}

/// The run that an emission names, or that of its invocation.
fn named_run(launch: &LaunchState, session: &Session, request: &EmitEventRequest) -> Result<Arc<Run>, Box<Refusal>> {
    if request.run_handle.is_empty() {
        let right = "wants the handle of a run, or an invocation that has one";
        let of_invocation = match request.invocation_id {
            0 => None,
            id => session.open_run(id).map_err(|_| invocation_ended(id))?,
        };
        return of_invocation.ok_or_else(|| field("run_handle", right).into());
    }
    let handle = session.handles.run_of(&request.run_handle).ok_or_else(|| {
        refusal(RefusalReason::HandleInvalid, "the run's handle is not one that this generation was given")
    })?;
    launch.runs.find(&handle.0, &handle.1).ok_or_else(|| refusal(RefusalReason::RunEnded, "the run has ended").into())
}

fn pending() -> Box<Refusal> {
    let retry_after = Some(crate::service::wire::duration(Duration::from_millis(100)));
    let why = "the generation does not serve yet";
    Box::new(Refusal { retry_after, ..refusal(RefusalReason::GenerationPending, why) })
}

fn invocation_ended(id: u64) -> Box<Refusal> {
    let why = format!("invocation {id} is not open: it has its outcome, or this generation was never given it");
    Box::new(refusal(RefusalReason::InvocationEnded, why))
}

/// An invocation that is open may write, of whatever generation; beyond that a generation that does not serve may not.
fn fence(launch: &LaunchState, session: &Session, invocation: u64) -> Result<(), Box<Refusal>> {
    if invocation != 0 {
        return session.open_run(invocation).map(drop).map_err(|_| invocation_ended(invocation));
    }
    match launch.bus.standing(&launch.spec.id, launch.generation) {
        Standing::Current => Ok(()),
        Standing::Pending => Err(pending()),
        Standing::Stale => Err(refusal(RefusalReason::GenerationStale, "a newer generation has taken over").into()),
    }
}

fn charge(launch: &LaunchState, scope: Scope) -> Result<(), Box<Refusal>> {
    let Some(quota) = Quota::find(scope, QUOTA) else { return Ok(()) };
    let limit = quota.in_force(&launch.spec.rights);
    let over = |wait| Refusal {
        scope: scope.name().to_owned(),
        quota: Some(types::Quota { name: QUOTA.to_owned(), limit, used: limit }),
        retry_after: Some(crate::service::wire::duration(wait)),
        ..refusal(RefusalReason::QuotaExceeded, format!("more than {limit} events a minute"))
    };
    launch.bus.charge(&launch.spec.id, limit).map_err(|wait| over(wait).into())
}

/// The data as it is published: an object, in which the supervisor has set last who emitted it.
async fn stamped(launch: &LaunchState, data: Bytes) -> Result<Bytes, Box<Refusal>> {
    let (id, name) = (launch.spec.id.to_string(), launch.spec.name.clone());
    let bytes = data.len();
    let stamp = move || {
        let checked = json::validate_value(&data, &ValueLimits::default());
        let object = data.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        checked.and_then(|()| {
            let object = if object { data } else { [b"{\"value\":", &data[..], b"}"].concat().into() };
            let stamp = serde_json::json!({ "pluginId": id, "pluginName": name });
            json::shallow_merge(&object, stamp.to_string().as_bytes())
        })
    };
    let lost = || refusal(RefusalReason::Unspecified, "the scan of data_json was lost");
    let stamped = scan(bytes, stamp).await.ok_or_else(lost)?;
    let wrong = |JsonError { rule, offset }| Refusal {
        field: "data_json".to_owned(),
        ..refusal(RefusalReason::JsonInvalid, format!("data_json, byte {offset}: {rule}"))
    };
    stamped.map_err(|error| wrong(error).into())
}

/// What a plugin may not say on a stream of the host.
fn check_host_stream(stream: &str, data: &[u8]) -> Result<(), Box<Refusal>> {
    if stream != "lifecycle" {
        return Ok(());
    }
    let data: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(data).unwrap_or_default();
    match data.get("phase").and_then(serde_json::Value::as_str) {
        Some("end" | "error") => {
            Err(refusal(RefusalReason::StreamNotAllowed, "only the runtime says that a run has ended").into())
        }
        Some("start") if !data.get("startedAt").is_some_and(serde_json::Value::is_number) => {
            Err(field("data_json.startedAt", "wants a number where the phase is `start`").into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_its_id_and_what_follows_a_dot() {
        for own in ["planner", "planner.x", "planner.x.y"] {
            assert!(is_own("planner", own), "{own}");
        }
        for foreign in ["", "plan", "planner.", "planners", "planner-x", "other", "x.planner", "lifecycle"] {
            assert!(!is_own("planner", foreign), "{foreign}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_minutes_worth_at_once_then_the_rate() {
        let mut budget = Budget::default();
        for _ in 0..600 {
            assert_eq!(budget.take(600, Instant::now()), Ok(()));
        }
        let wait = budget.take(600, Instant::now()).expect_err("it is used up");
        assert_eq!(wait, Duration::from_millis(100));
        tokio::time::advance(wait).await;
        assert_eq!(budget.take(600, Instant::now()), Ok(()));
        assert!(budget.take(600, Instant::now()).is_err());
        assert!(Budget::default().take(0, Instant::now()).is_err(), "a quota of none");
    }
}
