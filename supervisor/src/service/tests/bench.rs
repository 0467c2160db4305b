//! A registry whose plugins answer any hook by a script, at once or after a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1 as types;
use tokio_util::task::TaskTracker;

use crate::domain::guard::{Guard, OnAbsent, Tools};
use crate::domain::hook::{Hook, Row};
use crate::domain::ids::Generation;
use crate::domain::rights::{Grant, Rights, Scope, Tier};
use crate::domain::spec::{HookSetting, PluginSpec};
use crate::service::conversation::outbox;
use crate::service::dispatch::{Call, Dispatcher, Outcome};
use crate::service::events::Bus;
use crate::service::registration;
use crate::service::registry::{Part, Registry};
use crate::service::runs::Runs;
use crate::service::session::Session;
use crate::service::testing::{allow, settings, spec};
use crate::service::view::View;

/// One thing a plugin was asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) plugin: String,
    pub(super) policy: bool,
    pub(super) call: wire::HookCall,
    /// How an approval ended, where that is what it was told.
    pub(super) news: Option<wire::ApprovalCall>,
    /// The generation that was asked.
    pub(super) generation: u64,
}

impl Question {
    pub(super) fn event(&self) -> serde_json::Value {
        serde_json::from_slice(&self.call.event_json).unwrap_or_default()
    }

    /// Everything it could read.
    pub(super) fn text(&self) -> String {
        let parts = [&self.call.event_json, &self.call.context_json, &self.call.messages_json];
        parts.map(|part| String::from_utf8_lossy(part).into_owned()).join("\n")
    }
}

/// What a handler answers, and after how long; without an answer it hangs.
pub(super) type Script = Arc<dyn Fn(&Question) -> (Duration, Option<Answer>) + Send + Sync>;

/// Answers at once.
pub(super) fn says(answer: Answer) -> Script {
    Arc::new(move |_| (Duration::ZERO, Some(answer.clone())))
}

/// Never answers.
pub(super) fn hangs() -> Script {
    Arc::new(|_| (Duration::ZERO, None))
}

/// The plugins of a test, and what they were asked.
pub(super) struct Bench {
    pub(super) registry: Arc<Registry>,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) views: BTreeMap<String, Arc<View>>,
    /// Hooks, and whether as a policy, that a plugin serves or has served: of its guards only these hold.
    served: BTreeMap<String, BTreeSet<(Hook, bool)>>,
    asked: Arc<Mutex<Vec<Question>>>,
    cancelled: Arc<Mutex<Vec<String>>>,
}

/// A plugin that has these rights and asked for no other, with guards for all it may register.
pub(super) fn with_rights(id: &str, tier: Tier, scopes: &[Scope]) -> PluginSpec {
    let requested: BTreeSet<Scope> = scopes.iter().copied().collect();
    let granted = scopes.iter().map(|scope| (*scope, Grant::default())).collect();
    let guard = |hook, policy| Guard { hook, tools: Tools::All, policy };
    PluginSpec {
        tier,
        rights: Rights::new(tier, requested, &granted, BTreeSet::new()),
        guards: vec![
            guard(Hook::BeforeToolCall, false),
            guard(Hook::BeforeToolCall, true),
            guard(Hook::BeforeAgentRun, false),
            guard(Hook::BeforeInstall, false),
        ],
        ..spec(id)
    }
}

/// A plugin that may do everything a hook needs.
pub(super) fn able(id: &str) -> PluginSpec {
    let scopes: Vec<Scope> = Scope::all().collect();
    with_rights(id, Tier::Trusted, &scopes)
}

/// The same, passed over while it is absent, for one hook.
pub(super) fn skipped(id: &str, hook: Hook) -> PluginSpec {
    let setting = HookSetting { timeout: None, on_absent: OnAbsent::Skip };
    PluginSpec { hooks: BTreeMap::from([(hook, setting)]), ..able(id) }
}

/// A handler of a hook.
pub(super) fn handler(hook: Hook, id: &str) -> wire::HookRegistration {
    wire::HookRegistration {
        handler_id: id.to_owned(),
        hook: hook as i32,
        description: "for tests".to_owned(),
        ..Default::default()
    }
}

/// A registration with one handler.
pub(super) fn one(item: wire::HookRegistration) -> wire::Register {
    wire::Register { hooks: vec![item], ..Default::default() }
}

/// A registration with one trusted tool policy.
pub(super) fn policy(id: &str) -> wire::Register {
    wire::Register { tool_policies: vec![handler(Hook::BeforeToolCall, id)], ..Default::default() }
}

impl Bench {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let (bus, tasks) = (Bus::new(1), TaskTracker::new());
        let runs = Runs::new(Arc::clone(&bus), tasks.clone());
        let dispatcher = Dispatcher::new(Arc::clone(&registry), runs, bus, tasks);
        Self {
            registry,
            dispatcher,
            views: BTreeMap::new(),
            served: BTreeMap::new(),
            asked: Arc::default(),
            cancelled: Arc::default(),
        }
    }

    /// Seats a plugin that serves.
    pub(super) fn sit(
        &mut self,
        spec: &PluginSpec,
        position: usize,
        generation: u64,
        register: &wire::Register,
        script: Script,
    ) -> Arc<Session> {
        let registration = registration::check(register, spec).expect("nothing must be accepted");
        assert_eq!(registration.refused().next(), None, "of {}", spec.id);
        let served = registration.handlers.iter().map(|handler| (handler.hook, handler.policy)).collect();
        self.served.insert(spec.id.to_string(), served);
        let (out, mut frames) = outbox();
        let session = Session::new(Generation(generation), registration, 4 * 1024 * 1024, out, Arc::default());
        let answering = Arc::clone(&session);
        let (asked, cancelled, plugin) = (Arc::clone(&self.asked), Arc::clone(&self.cancelled), spec.id.to_string());
        tokio::spawn(async move {
            while let Some(Ok(frame)) = frames.recv().await {
                for invocation in frame.invocations {
                    use wire::invocation::Call as Form;
                    let (policy, call, news) = match invocation.call.expect("a call of some form") {
                        Form::Hook(call) => (false, call, None),
                        Form::ToolPolicy(call) => (true, call, None),
                        Form::Approval(news) => (false, wire::HookCall::default(), Some(news)),
                        other => unreachable!("only hooks are called: {other:?}"),
                    };
                    let question = Question { plugin: plugin.clone(), policy, call, news, generation };
                    let (wait, outcome) = script(&question);
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push(question);
                    let (answering, invocation_id) = (Arc::clone(&answering), invocation.invocation_id);
                    let Some(outcome) = outcome else { continue };
                    tokio::spawn(async move {
                        tokio::time::sleep(wait).await;
                        answering.answer(wire::InvocationResult { invocation_id, outcome: Some(outcome) });
                    });
                }
                for cancel in frame.cancels {
                    cancelled.lock().unwrap_or_else(PoisonError::into_inner).push(plugin.clone());
                    let outcome = Some(allow());
                    answering.answer(wire::InvocationResult { invocation_id: cancel.invocation_id, outcome });
                }
            }
        });
        self.contribute(spec, position, Some(Arc::clone(&session)));
        session
    }

    /// What a plugin contributes, serving or not.
    pub(super) fn contribute(&mut self, spec: &PluginSpec, position: usize, session: Option<Arc<Session>>) {
        let id = spec.id.to_string();
        let served = self.served.get(&id);
        let guards =
            spec.guards.iter().filter(|guard| served.is_some_and(|of| of.contains(&(guard.hook, guard.policy))));
        let guards = guards.cloned().collect();
        let view = self.views.entry(id).or_insert_with(|| View::new(spec.id.clone(), Arc::new(settings())));
        self.registry.set(Part {
            view: Arc::clone(view),
            name: spec.name.clone(),
            bundled: spec.rights.tier() == Tier::Bundled,
            position,
            guards,
            hooks: spec.hooks.clone(),
            session,
        });
    }

    pub(super) async fn call(&self, call: Call) -> Outcome {
        self.dispatcher.dispatch(call).await
    }

    /// What was asked since the last time.
    pub(super) fn asked(&self) -> Vec<Question> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who was asked since the last time; a recheck ends with `!`.
    pub(super) fn order(&self) -> Vec<String> {
        let line = |question: Question| question.plugin + if question.call.recheck { "!" } else { "" };
        self.asked().into_iter().map(line).collect()
    }

    /// Whose calls were cancelled since the last time.
    pub(super) fn cancelled(&self) -> Vec<String> {
        std::mem::take(&mut *self.cancelled.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A call of a hook, with an event that has what its kind of answer takes the place of.
pub(super) fn call(row: &Row) -> Call {
    with_event(row, r#"{"params":{"command":"ls"},"payload":{"n":0},"message":{"n":0}}"#)
}

/// The same with an event of one's own.
pub(super) fn with_event(row: &Row, event: &str) -> Call {
    let asked = Box::new(runtime::HookInvocation {
        hook: row.hook as i32,
        tool_name: "exec".to_owned(),
        tool_call_id: "1".to_owned(),
        event_json: Bytes::copy_from_slice(event.as_bytes()),
        report_handlers: true,
        wait_for_observers: true,
        ..Default::default()
    });
    let params = Call::find_params(&asked.event_json);
    Call::checked("default".into(), row.hook, asked, params)
}

/// An answer of a hook.
pub(super) fn hook(kind: types::hook_result::Result) -> Answer {
    Answer::Hook(types::HookResult { result: Some(kind) })
}
