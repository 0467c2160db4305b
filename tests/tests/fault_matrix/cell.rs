//! One fault in one phase.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use outrigger_fixtures::faults::{Fault, Phase};
use outrigger_proto::admin::v1::{ExplainPluginResponse, LaunchPhase, PluginStatus, StopStep};
use outrigger_proto::types::v1::PluginState;
use outrigger_tests::{Called, Package, Setup, World};
use serde_json::json;

use crate::expect::{Call, End, Expect};
use crate::table;

/// Longest wait for a state of one cell: a world of ten starts at once and a few use all the processors.
const PATIENCE: Duration = Duration::from_secs(30);

/// One fault in one phase.
pub(crate) struct Cell {
    fault: &'static Fault,
    phase: Phase,
    /// A stock Python plugin has the fault; its written package.
    python: Option<std::path::PathBuf>,
    expect: Expect,
}

/// A landlock scope holds, so that attacks on processes outside the launch are refused by the kernel.
const ATTACKS: [&str; 5] = ["kill-keeper", "stop-keeper", "kill-all", "ptrace-keeper", "signal-supervisor"];

impl Cell {
    /// Of the Rust plugin.
    pub(crate) fn of(fault: &'static Fault, phase: Phase) -> Self {
        Self { fault, phase, python: None, expect: table::of(fault.name, phase) }
    }

    /// Of the Python plugin, in this package.
    pub(crate) fn of_python(fault: &'static Fault, phase: Phase, package: &std::path::Path) -> Self {
        Self { fault, phase, python: Some(package.to_owned()), expect: table::of_python(fault.name, phase) }
    }

    /// Name in the output.
    pub(crate) fn name(&self) -> String {
        let language = if self.python.is_some() { "python:" } else { "" };
        format!("{language}{}/{}", self.fault.name, self.phase)
    }

    /// Plugin and tool.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.fault.name, self.phase)
    }

    /// The plugin.
    pub(crate) fn package(&self, setup: &Setup) -> Package {
        let id = self.id();
        let name = self.fault.name;
        let mut package = match &self.python {
            Some(directory) => Package::written(&id, directory),
            None => Package::misbehaving(&id, name, self.phase),
        };
        if self.fault.required.contains(&"socket") {
            let socket = if name.starts_with("dial-admin") { "run/admin.sock" } else { "run/runtime.sock" };
            let socket = format!("socket={}", setup.dir().join(socket).display());
            let state = format!("state={}", setup.state_dir().display());
            package = package.arguments(&[&socket, &state]);
        }
        if self.fault.required.contains(&"token") {
            package = package.arguments(&["token=00112233445566778899aabbccddeeff"]);
        }
        if self.fault.required.contains(&"pid") {
            // Who the supervisor is the plugin finds out by itself: its keeper's parent.
            let script = "read -r _ _ _ pid _ < /proc/$PPID/stat; exec \"$0\" \"$@\" pid=$pid";
            let own = std::mem::take(&mut package.command);
            package.command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
            package.command.extend(own);
        }
        let limits = match name {
            "leak" => Some("memory = \"64MiB\""),
            "fork-bomb" => Some("processes = 24"),
            "many-processes" => Some("processes = 16"),
            _ if self.expect.end == End::Fails("startup-timeout") => Some("startup = \"2s\""),
            _ => None,
        };
        if let Some(limits) = limits {
            package = package.entry(&format!("limits = {{ {limits} }}"));
        }
        // A call that must end by its deadline has a short one; others have time on a busy machine.
        let by_deadline = self.expect.call == Call::Stopped(outrigger_proto::types::v1::HandlerOutcome::Timeout);
        package.timeout(if by_deadline { "400ms" } else { "20s" })
    }

    /// The call that comes before anybody can serve.
    pub(crate) async fn call_early(&self, world: &World) -> Option<Called> {
        (self.phase == Phase::Starting).then_some(())?;
        Some(world.call(&self.id(), &json!({})).await)
    }

    /// Lets the fault strike and looks at what comes of it. What was wrong, if something was.
    pub(crate) async fn run(&self, world: &World, early: Option<Called>) -> Option<String> {
        if ATTACKS.contains(&self.fault.name) && !scope_holds(world, &self.id()).await {
            println!(
                "{}: n/a: this kernel has no signal scope (Landlock 6), so the attack would reach its target",
                self.name()
            );
            return None;
        }
        let begin = Instant::now();
        let mut wrong = Vec::new();
        let id = self.id();
        let mut drained = None;
        let call = match self.phase {
            Phase::Starting => self.strike_when_starting(world, early, &mut wrong).await,
            Phase::Idle => self.strike_when_idle(world).await,
            Phase::Hook => {
                world.ready(&id).await;
                world.call(&id, &json!({})).await
            }
            Phase::Draining => self.strike_when_draining(world, &mut wrong, &mut drained).await,
        };
        if !self.expect.call.is(&call, &id) {
            wrong.push(format!("the call came out as {}, not {:?}: {}", call.short(), self.expect.call, call.reason));
        }
        let (cause, after) = self.look_at_the_end(world, &mut wrong).await;
        if self.fault.name.starts_with("dial-") {
            self.look_at_dials(world, &mut wrong).await;
        }
        // Whatever serves still is stopped; then nothing of any launch may be left.
        let step = match world.stop(&id).await {
            Ok(stopped) => stopped.report.map(|report| report.step()).unwrap_or_default(),
            Err(status) => {
                wrong.push(format!("it cannot be stopped: {status}"));
                StopStep::Unspecified
            }
        };
        let left = outrigger_tests::processes::gone(Duration::from_secs(3), || world.processes_of(&id)).await;
        if !left.is_empty() {
            let left: Vec<_> = left.into_iter().map(outrigger_tests::processes::describe).collect();
            wrong.push(format!("left of it: {left:?}"));
        }
        let step = drained.unwrap_or(step).as_str_name().trim_start_matches("STOP_STEP_").to_ascii_lowercase();
        println!(
            "{}: {} cause={cause} verdict={} then={after} stop={step} ({:.1?}){}",
            self.name(),
            if wrong.is_empty() { "ok" } else { "WRONG" },
            call.short(),
            begin.elapsed(),
            wrong.iter().map(|why| format!(" {why};")).collect::<String>(),
        );
        (!wrong.is_empty()).then(|| format!("{}: {}", self.name(), wrong.join("; ")))
    }

    async fn strike_when_starting(&self, world: &World, early: Option<Called>, wrong: &mut Vec<String>) -> Called {
        let id = self.id();
        // It may have been quick and served already; a way through without being asked there must not be.
        if let Some(early) = early
            && early.goes_on()
            && early.handlers.is_empty()
        {
            wrong.push("the first call went on though nobody was asked".to_owned());
        }
        match self.expect.end {
            // What it must come to is looked at in the end.
            End::Fails(_) => drop(self.first_failure(world).await),
            End::Serves(_) | End::StaysAfter(..) | End::MayFail(_) | End::Stops(_) => {
                world.ready(&id).await;
                self.struck(world).await;
            }
        }
        world.call(&id, &json!({})).await
    }

    async fn strike_when_idle(&self, world: &World) -> Called {
        let id = self.id();
        self.struck(world).await;
        world.call(&id, &json!({})).await
    }

    /// Waits until the fault has struck.
    async fn struck(&self, world: &World) {
        // A flood leaves no room for what was told before it.
        let sign = if self.fault.name == "flood-stdout" { "misbehave floods" } else { "strikes (" };
        world.told(&self.id(), sign).await;
    }

    async fn strike_when_draining(
        &self,
        world: &World,
        wrong: &mut Vec<String>,
        drained: &mut Option<StopStep>,
    ) -> Called {
        let id = self.id();
        world.ready(&id).await;
        let (held, stopped) = if self.python.is_some() && !self.fault.is_about_an_answer() {
            // This one holds calls for faults of an answer only.
            (world.call(&id, &json!({})).await, world.stop(&id).await)
        } else {
            let stop = async {
                world.told(&id, "holds invocation").await;
                world.stop(&id).await
            };
            let params = json!({ "hold": true });
            tokio::join!(world.call(&id, &params), stop)
        };
        match (stopped, self.expect.end) {
            (Ok(stopped), End::Stops(steps)) => {
                let step = stopped.report.map(|report| report.step()).unwrap_or_default();
                *drained = Some(step);
                if !steps.contains(&step) {
                    wrong.push(format!("it needed {step:?}, not one of {steps:?}"));
                }
            }
            (Ok(_), end) => wrong.push(format!("the table expects {end:?} of a plugin that is stopped")),
            (Err(status), _) => wrong.push(format!("it cannot be stopped: {status}")),
        }
        held
    }

    /// Waits for what the plugin must come to. The cause, and a call then, in few words.
    async fn look_at_the_end(&self, world: &World, wrong: &mut Vec<String>) -> (String, String) {
        let id = self.id();
        let cause_is = |causes: &[String], cause: &str| causes.last().is_some_and(|first| first == cause);
        match self.expect.end {
            End::Serves(call) => {
                // What goes on beside the session has to be over.
                let over = match self.fault.name {
                    "flood-host-calls" => "host calls:",
                    "flood-stdout" => "to standard output",
                    "long-stderr-line" => "wrote a line",
                    "detach-grandchild" => "ignores SIGTERM",
                    _ => "strikes (",
                };
                if world.told_within(&id, over, PATIENCE).await.is_none() {
                    wrong.push(format!(
                        "it has not told `{over}`: {:?}",
                        world.log_of(&id).await.iter().rev().take(20).map(|line| line.text.clone()).collect::<Vec<_>>()
                    ));
                }
                let called = world.call(&id, &json!({})).await;
                let status = world.status(&id).await;
                let causes = world.causes(&id).await;
                if !call.is(&called, &id) {
                    wrong.push(format!("a later call came out as {}, not {call:?}: {}", called.short(), called.reason));
                }
                if !causes.is_empty() || status.state() != PluginState::Ready || status.generation != 1 {
                    let failures = world.explain(&id).await.failures;
                    let told: Vec<_> =
                        failures.iter().map(|failure| (&failure.message, &failure.stderr_tail)).collect();
                    let (state, generation) = (status.state(), status.generation);
                    wrong.push(format!("it does not serve on: {state:?}, generation {generation}, {told:?}"));
                }
                (causes.last().map_or("-", String::as_str).to_owned(), called.short())
            }
            End::Fails(cause) => {
                let Some(explained) = self.first_failure(world).await else {
                    wrong.push(format!("it did not fail; it must with {cause}"));
                    return ("-".to_owned(), "-".to_owned());
                };
                // The state follows when the failure is written down.
                let down = |state| matches!(state, PluginState::Waiting | PluginState::Quarantined);
                let is_down = |statuses: &BTreeMap<String, PluginStatus>| {
                    statuses.get(&id).filter(|status| down(status.state())).map(drop)
                };
                world.wait_until(&format!("{id} is waiting or quarantined"), is_down).await;
                let called = world.call(&id, &json!({})).await;
                let denied = Call::Stopped(outrigger_proto::types::v1::HandlerOutcome::Absent);
                let named = called.reason.contains("is waiting") || called.reason.contains("is quarantined");
                if !denied.is(&called, &id) || !named {
                    wrong.push(format!("after its failure a call came out as {}: {}", called.short(), called.reason));
                }
                let causes = world.causes(&id).await;
                let first = explained.failures.last().map(|failure| failure.phase());
                let in_its_phase = match self.phase {
                    // Some faults of the start let the plugin serve for a moment.
                    Phase::Starting => first != Some(LaunchPhase::Draining),
                    Phase::Idle | Phase::Hook | Phase::Draining => first == Some(LaunchPhase::Serving),
                };
                if !in_its_phase {
                    wrong.push(format!("the failure is told to have been while {first:?}"));
                }
                if !cause_is(&causes, cause) {
                    let failure = &explained.failures[0];
                    wrong.push(format!(
                        "the cause is {causes:?}, not {cause}: {} {:?}",
                        failure.message, failure.stderr_tail
                    ));
                }
                (causes.join("+"), called.short())
            }
            End::StaysAfter(cause, call) => {
                if self.first_failure(world).await.is_none() {
                    wrong.push(format!("it did not fail; it must with {cause}"));
                }
                let called = world.call(&id, &json!({})).await;
                let (status, causes) = (world.status(&id).await, world.causes(&id).await);
                if !call.is(&called, &id) {
                    wrong.push(format!("a later call came out as {}, not {call:?}: {}", called.short(), called.reason));
                }
                if !cause_is(&causes, cause) || status.state() != PluginState::Ready || status.generation != 1 {
                    wrong.push(format!(
                        "it is {:?} as generation {} after {causes:?}",
                        status.state(),
                        status.generation
                    ));
                }
                (causes.join("+"), called.short())
            }
            End::MayFail(cause) => {
                let called = world.call(&id, &json!({})).await;
                let causes = world.causes(&id).await;
                if !(causes.is_empty() || cause_is(&causes, cause)) {
                    wrong.push(format!("the cause is {causes:?}, not {cause}"));
                }
                if !Call::Either.is(&called, &id) {
                    wrong.push(format!("a later call came out as {}: {}", called.short(), called.reason));
                }
                (causes.join("+"), called.short())
            }
            End::Stops(_) => {
                // What an operator asked for is no failure, and lifts its guards.
                let causes = world.causes(&id).await;
                if !causes.is_empty() {
                    wrong.push(format!("failures are recorded of a plugin that was to stop: {causes:?}"));
                }
                let called = world.call(&id, &json!({})).await;
                if !called.goes_on() || !called.handlers.is_empty() {
                    wrong.push(format!("its guard holds on after the operator's stop: {called:?}"));
                }
                (causes.last().map_or("-", String::as_str).to_owned(), called.short())
            }
        }
    }

    async fn first_failure(&self, world: &World) -> Option<ExplainPluginResponse> {
        world.failed_within(&self.id(), 1, PATIENCE).await
    }

    /// No call of a plugin on a control socket is answered, and it sees no more than a closed connection.
    async fn look_at_dials(&self, world: &World, wrong: &mut Vec<String>) {
        let id = self.id();
        for key in ["without key", "with key"] {
            let told = match self.phase {
                // A grandchild of one that stops may be killed before it has come to it.
                Phase::Draining => self.has_told(world, key).await,
                Phase::Starting | Phase::Idle | Phase::Hook => world.told_within(&id, key, PATIENCE).await,
            };
            match told {
                None if self.phase == Phase::Draining => {}
                None => wrong.push(format!("it has not dialled {key}")),
                Some(line) if line.ends_with("answered") || line.contains("Unauthenticated") => {
                    wrong.push(format!("its call was looked at: {line}"));
                }
                Some(_) => {}
            }
        }
    }

    async fn has_told(&self, world: &World, text: &str) -> Option<String> {
        let lines = world.log_of(&self.id()).await;
        lines.into_iter().map(|line| line.text).find(|line| line.contains(text))
    }
}

/// The kernel keeps signals of the plugin within its launch.
async fn scope_holds(world: &World, id: &str) -> bool {
    let launched = |statuses: &BTreeMap<String, PluginStatus>| {
        statuses.get(id).filter(|status| status.pid != 0 || status.state() != PluginState::Starting).map(drop)
    };
    world.wait_until(&format!("{id} is launched"), launched).await;
    world.full(id).await.sandbox.iter().any(|rung| rung.name == "landlock-signal-scope" && rung.applied)
}
