//! From the first byte to ready: hello, the plugin's own start, registration.

use std::sync::Arc;
use std::time::Duration;

use outrigger_proto::plugin::v1::plugin_service_client::PluginServiceClient;
use outrigger_proto::plugin::v1::session_request::Control as Say;
use outrigger_proto::plugin::v1::session_response::Control as Heard;
use outrigger_proto::plugin::v1::{HandlerOptions, Hello, Register, Registered, Verdict, VerdictReason};
use outrigger_proto::types::v1::{ItemKind, ProtocolRange};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Channel;
use tracing::{info, warn};

use crate::environment::Environment;
use crate::error::{Error, Result, StartError};
use crate::events::{EventHandler, Reader};
use crate::handler::Handlers;
use crate::host::Host;
use crate::item::sealed::Items;
use crate::item::{HookItem, SubscriptionItem};
use crate::launch::{Facts, Launch};
use crate::outbox::Outbox;
use crate::plugin::Parts;
use crate::running::{caught_future, panic_text};
use crate::serve::Serving;
use crate::session::{Meanwhile, Session, Turn, ended};
use crate::wire;

/// The protocol version spoken.
const PROTOCOL: u32 = 1;
/// Longest message taken: the supervisor's bound.
const MOST_MESSAGE: usize = 4 * 1_024 * 1_024;
/// Time for the first answer, and for all of the start where the supervisor names none: its startup deadline.
const STARTUP: Duration = Duration::from_secs(10);
/// Calls in flight where the plugin names no bound, as in `Register.max_in_flight`.
const DEFAULT_IN_FLIGHT: u32 = 16;
/// How long the supervisor may take to read that the plugin cannot work.
const FATAL: Duration = Duration::from_secs(1);

/// Brings a plugin to ready. `None`: it was asked to exit before.
pub(crate) async fn start<S: Send + Sync + 'static>(
    parts: Parts<S>,
    environment: &Environment,
    channel: Channel,
) -> Result<Option<Serving<S>>> {
    let opening = timeout(STARTUP, open(&parts.version, environment, channel.clone()));
    let timed_out = |step, limit| move |_| Error::TimedOut { step, limit };
    let (mut session, left) = opening.await.map_err(timed_out("get a welcome", STARTUP))??;
    let deadline = Instant::now() + left;

    let limits = *session.facts.limits();
    let host = Host::new(channel.clone(), limits.max_calls_in_flight, limits.max_chunk_bytes);
    let launch = Launch::new(session.facts.clone(), host);

    let Parts { start, ready, shutdown, max_in_flight, items, read_events, gaps, approval, .. } = parts;
    let warm_up = {
        let launch = launch.clone();
        caught_future(async move {
            let state = start(launch).await?;
            let hooks = resolve(items.hooks, &state);
            let policies = resolve(items.policies, &state);
            Ok::<_, StartError>((state, Items { hooks, policies, ..items }))
        })
    };
    let warm_up = timeout_at(deadline, session.alongside(warm_up, "the plugin is starting"));
    let started = match warm_up.await.map_err(timed_out("start", left))?? {
        Meanwhile::Done(Ok(started)) => started,
        Meanwhile::Done(Err(panic)) => {
            Err(StartError::internal(format_args!("the start panicked: {}", panic_text(panic.as_ref()))))
        }
        Meanwhile::Turned(Turn::Shutdown(patience)) => {
            session.close(patience / 2).await;
            return Ok(None);
        }
        Meanwhile::Turned(Turn::Registered(_)) => Err(StartError::internal("registered without having asked")),
    };
    let (state, items) = match started {
        Ok(started) => started,
        Err(error) => {
            session.outbox.control(Say::Fatal(error.to_wire()));
            session.close(FATAL).await;
            return Err(Error::Start(error));
        }
    };

    let register = registration(max_in_flight, &items);
    session.outbox.control(Say::Register(register.clone()));
    let never = std::future::pending::<()>();
    let answer = timeout_at(deadline, session.alongside(never, "the plugin is starting"));
    let registered = match answer.await.map_err(timed_out("be registered", left))?? {
        Meanwhile::Turned(Turn::Registered(registered)) => registered,
        Meanwhile::Turned(Turn::Shutdown(patience)) => {
            session.close(patience / 2).await;
            return Ok(None);
        }
        Meanwhile::Done(()) => return Ok(None),
    };
    check(&register, &registered)?;
    let subscribed = subscribed(items.subscriptions, &registered);
    session.facts.set_registered(registered);
    let launch = launch.with_state(state);
    let reader = (!subscribed.is_empty()).then(|| Reader {
        client: PluginServiceClient::new(channel).max_decoding_message_size(MOST_MESSAGE),
        handlers: subscribed,
        gaps,
        how: read_events.map(|how| how(&launch)).unwrap_or_default(),
        launch: launch.clone(),
        outbox: session.outbox.clone(),
    });
    let in_flight = if max_in_flight == 0 { DEFAULT_IN_FLIGHT } else { max_in_flight };
    let handlers = Handlers::new(items.hooks, items.policies, items.tools, approval);
    Ok(Some(Serving::new(session, launch, handlers, in_flight, reader, ready, shutdown)))
}

/// Everything the plugin offers.
fn registration<S>(max_in_flight: u32, items: &Items<S>) -> Register {
    let hooks = |items: &[HookItem<S>]| items.iter().map(|item| item.registration.clone()).collect();
    Register {
        max_in_flight,
        hooks: hooks(&items.hooks),
        tool_policies: hooks(&items.policies),
        tools: items.tools.iter().map(|item| item.registration.clone()).collect(),
        subscriptions: items.subscriptions.iter().map(|item| item.registration.clone()).collect(),
        ..Default::default()
    }
}

/// The subscriptions the supervisor accepted. Without one there is no stream of events.
fn subscribed<S>(items: Vec<SubscriptionItem<S>>, registered: &Registered) -> Vec<(String, EventHandler<S>)> {
    let accepted = |id: &str| {
        registered.verdicts.iter().any(|verdict| {
            verdict.kind() == ItemKind::Subscription && verdict.id == id && verdict.reason() == VerdictReason::Accepted
        })
    };
    let items = items.into_iter().map(|item| (item.registration.subscription_id, item.handler));
    items.filter(|(id, _)| accepted(id)).collect()
}

/// Opens the stream: hello and welcome. Also tells what is left of the startup deadline.
async fn open(version: &str, environment: &Environment, channel: Channel) -> Result<(Session, Duration)> {
    let outbox = Outbox::new();
    outbox.control(Say::Hello(Hello {
        token: environment.token.clone(),
        protocol: Some(ProtocolRange { min: PROTOCOL, max: PROTOCOL }),
        sdk: concat!("rust/outrigger-sdk ", env!("CARGO_PKG_VERSION")).to_owned(),
        version: version.to_owned(),
        max_receive_bytes: MOST_MESSAGE as u64,
        ..Default::default()
    }));
    let mut client = PluginServiceClient::new(channel).max_decoding_message_size(MOST_MESSAGE);
    let mut inbound = client.session(outbox.messages()).await.map_err(|status| ended(&status))?.into_inner();
    let first = inbound.message().await.map_err(|status| ended(&status))?;
    let Some(Heard::Welcome(welcome)) = first.and_then(|message| message.control) else {
        return Err(Error::SessionEnded("there was no welcome".to_owned()));
    };
    if welcome.protocol_version != PROTOCOL {
        let message = format!("the supervisor chose {}, this SDK speaks {PROTOCOL}", welcome.protocol_version);
        return Err(Error::ProtocolUnsupported { message });
    }
    let left = welcome.startup_timeout.map_or(STARTUP, wire::duration);
    let facts = Arc::new(Facts::new(*welcome, environment));
    outbox.set_max_message(facts.limits().max_stream_message_bytes);
    Ok((Session { inbound, outbox, facts }, left))
}

/// Asks each item for what depends on the state. One that is for no tool falls out.
fn resolve<S>(items: Vec<HookItem<S>>, state: &S) -> Vec<HookItem<S>> {
    let resolve = |mut item: HookItem<S>| {
        if let Some(tools) = item.tools_from.take() {
            item.registration.tool_names = tools(state);
            if item.registration.tool_names.is_empty() {
                return None;
            }
        }
        Some(item)
    };
    items.into_iter().filter_map(resolve).collect()
}

/// Tells what was refused.
fn check(register: &Register, registered: &Registered) -> Result<()> {
    for verdict in registered.verdicts.iter().filter(|verdict| verdict.reason() != VerdictReason::Accepted) {
        warn!(
            id = verdict.id,
            reason = verdict.reason().as_str_name(),
            field = verdict.field,
            scope = verdict.scope,
            remedy = verdict.remedy,
            "refused: {}",
            verdict.message
        );
        if must_be_accepted(register, verdict) {
            return Err(Error::RegistrationRefused(Box::new(verdict.clone())));
        }
    }
    for guard in &registered.unserved_guards {
        warn!(hook = guard.hook, tools = ?guard.tool_names, "a declared guard has no handler; these calls are denied");
    }
    let accepted = registered.verdicts.iter().filter(|verdict| verdict.reason() == VerdictReason::Accepted).count();
    info!(items = registered.verdicts.len(), accepted, "ready");
    Ok(())
}

/// The supervisor ends such a launch by itself; this holds it to that.
fn must_be_accepted(register: &Register, verdict: &Verdict) -> bool {
    let must = |options: &Option<HandlerOptions>| options.as_ref().is_some_and(|options| options.must_accept);
    let id = &verdict.id;
    match verdict.kind() {
        ItemKind::Hook => register.hooks.iter().any(|hook| hook.handler_id == *id && must(&hook.options)),
        ItemKind::ToolPolicy => {
            register.tool_policies.iter().any(|policy| policy.handler_id == *id && must(&policy.options))
        }
        ItemKind::Tool => register
            .tools
            .iter()
            .any(|tool| tool.spec.as_ref().is_some_and(|spec| spec.name == *id) && must(&tool.options)),
        ItemKind::Subscription => {
            register.subscriptions.iter().any(|item| item.subscription_id == *id && item.must_accept)
        }
        // Nothing else is registered here.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use outrigger_proto::plugin::v1::{HandlerOptions, HookRegistration};

    use super::*;

    #[test]
    fn a_refused_item_is_an_error_only_if_it_must_be_accepted() {
        let hook = |id: &str, must_accept| HookRegistration {
            handler_id: id.to_owned(),
            options: Some(HandlerOptions { must_accept, ..Default::default() }),
            ..Default::default()
        };
        let register = Register { hooks: vec![hook("may", false), hook("must", true)], ..Default::default() };
        let verdict = |id: &str, reason: VerdictReason| Verdict {
            kind: ItemKind::Hook.into(),
            id: id.to_owned(),
            reason: reason.into(),
            message: "no".to_owned(),
            remedy: "declare it".to_owned(),
            ..Default::default()
        };
        let registered = |may, must| Registered {
            verdicts: vec![verdict("may", may), verdict("must", must)],
            unserved_guards: Vec::new(),
        };
        use VerdictReason::{Accepted, GuardNotDeclared, Unspecified};
        check(&register, &registered(GuardNotDeclared, Accepted)).expect("the plugin works without it");
        let error = check(&register, &registered(Accepted, GuardNotDeclared)).expect_err("it must be accepted");
        assert_eq!(format!("{error:?}"), "failed to register `must`, which must be accepted: no; declare it");
        // A reason that is not known is a refusal.
        check(&register, &registered(Accepted, Unspecified)).expect_err("it must be accepted");
    }
}
