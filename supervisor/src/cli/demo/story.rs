//! The acts of the demonstration.

use std::time::{Duration, Instant};

use outrigger_proto::admin::v1 as admin;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::sleep;

use super::files::{Directory, TRACES, VICTIM, VICTIM_TOOL};
use super::narrator::Narrator;
use super::supervisor::Supervisor;
use super::watch::Watch;
use crate::cli::Global;
use crate::cli::connection::{self, Admin};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::replay::player::{Played, Player};
use crate::cli::replay::report::Report;
use crate::cli::replay::trace::{Call, Step, Trace};
use crate::cli::text::{count, duration};
use crate::cli::view::explain::Explanation;
use crate::cli::view::plugin::Plugin;
use crate::domain::hook::Hook;
use crate::transport::keys::DEFAULT_RUNTIME;

/// Between two things that happen, so that a person can follow.
const PACE: Duration = Duration::from_millis(450);
/// How long a call is seen to wait for the frozen guard, below the supervisor's patience with a silent plugin (3 s).
const FROZEN: Duration = Duration::from_millis(700);
/// Time for plugins to become ready. Rust needs some 20 ms, Python 300; a busy machine gets far more.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// Time for the supervisor to stop with all plugins.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The story after everything has begun to run.
pub(super) struct Story {
    client: Admin,
    watch: Watch,
    player: Player,
    report: Report,
    traces: Vec<Trace>,
}

impl Story {
    /// First act: everything starts, and an agent's runtime attaches.
    pub(super) async fn begin(
        narrator: &mut Narrator<'_>,
        global: &Global,
        directory: &Directory,
        supervisor: &mut Supervisor,
        with_python: bool,
    ) -> Result<Self, Failure> {
        let traces = TRACES.map(|(name, text)| {
            Trace::parse(name.to_owned(), text.as_bytes())
                .map_err(|(line, error)| Failure::new(Exit::Failed, format!("{name}:{}: {error}", line.unwrap_or(0))))
        });
        let traces: Vec<_> = traces.into_iter().collect::<Result<_, _>>()?;

        narrator.step(format!("A supervisor starts in {}, pid {}.", directory.path().display(), supervisor.pid()))?;
        narrator.why("It is this program's `outrigger run`. Nothing outside of that directory is touched.")?;
        let mut client = supervisor.answers(global).await?;

        let expected = if with_python { 4 } else { 3 };
        narrator.step(format!("It starts {expected} plugins, each a child process that dials back and registers."))?;
        let begun = Instant::now();
        let mut watch = Watch::begin(&mut client).await?;
        let all = |watch: &Watch| watch.plugins().count() >= expected && watch.plugins().all(Plugin::is_ready);
        watch
            .until("that all plugins are ready", READY_LIMIT, all, |plugin| {
                if !plugin.is_ready() {
                    return Ok(());
                }
                let pid = plugin.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
                let guards = match plugin.guards {
                    0 => "guards nothing".to_owned(),
                    number => count(u64::from(number), "guard"),
                };
                let after = duration(begun.elapsed());
                narrator.detail(format!("{:<15} ready after {after:>6}{pid}, {guards}", plugin.plugin_id))
            })
            .await?;
        narrator.why(
            "A guard holds from the first moment, ready or not: what it guards is denied until it can be asked.",
        )?;
        sleep(PACE).await;

        narrator.step("An agent's runtime attaches and is told which hooks plugins want.")?;
        let hooks = traces.iter().flat_map(|trace| trace.calls.iter().map(|call| call.hook)).collect();
        let runtime =
            DEFAULT_RUNTIME.parse().map_err(|_| Failure::new(Exit::Failed, "the default runtime has no id"))?;
        let runtime = connection::runtime(global, &runtime).await?;
        let player = tokio::time::timeout(READY_LIMIT, Player::attach(runtime, hooks))
            .await
            .map_err(|_| Failure::new(Exit::TimedOut, "the runtime could not attach in time"))??;
        narrator.why("All other hooks cost the agent nothing: no call leaves its process.")?;
        let report = Report::new(&traces);
        Ok(Self { client, watch, player, report, traces })
    }

    /// The other acts.
    pub(super) async fn tell(mut self, narrator: &mut Narrator<'_>) -> Result<(), Failure> {
        let traces = std::mem::take(&mut self.traces);
        let mut killed = false;
        for trace in &traces {
            if tool_calls(trace).next().is_some() {
                narrator.step(format!("The agent's recorded session {} is played.", trace.name))?;
            }
            for step in trace.steps() {
                let call = match step {
                    Step::Call(call) => call,
                    Step::Event(event) => {
                        self.report.add_event(self.player.publish(event).await);
                        continue;
                    }
                };
                if call.hook == Hook::BeforeToolCall {
                    self.player.pause(PACE).await;
                    if call.tool_name() == VICTIM_TOOL && !killed {
                        killed = true;
                        self.kill(narrator, trace, call, &traces).await?;
                        continue;
                    }
                }
                let played = self.player.play(call).await;
                self.decide(narrator, trace, call, played)?;
            }
        }
        self.look_back(narrator).await
    }

    /// The act in the middle: the guard that has the question is killed.
    async fn kill(
        &mut self,
        narrator: &mut Narrator<'_>,
        trace: &Trace,
        call: &Call,
        traces: &[Trace],
    ) -> Result<(), Failure> {
        let victim = self.watch.plugin(VICTIM).cloned();
        let (generation, pid) = victim
            .and_then(|plugin| Some((plugin.generation?, Pid::from_raw(i32::try_from(plugin.pid?).ok()?)?)))
            .ok_or_else(|| Failure::new(Exit::Failed, format!("{VICTIM} has no process to be killed")))?;
        let number = pid.as_raw_nonzero();
        signal(pid, Signal::STOP)?;
        narrator
            .step(format!("{VICTIM} is frozen (SIGSTOP), and the agent asks to read a file: the question waits."))?;
        let killed = async {
            sleep(FROZEN).await;
            narrator.step(format!("kill -9 {number}: the guard dies with the question in its hands."))?;
            signal(pid, Signal::KILL)?;
            Ok::<_, Failure>(Instant::now())
        };
        let asked = async {
            let played = self.player.play(call).await;
            (played, Instant::now())
        };
        let (killed_at, (played, answered_at)) = tokio::join!(killed, asked);
        let killed_at = killed_at?;
        let waited = answered_at.saturating_duration_since(killed_at);
        self.decide(narrator, trace, call, played)?;
        narrator.detail(format!("answered {} after the kill", duration(waited)))?;
        narrator.why("The agent is not left hanging, and a dead guard is a no: absence is not a way through.")?;

        narrator.step("Asked again at once, while the guard is not there:")?;
        let played = self.player.play(call).await;
        self.decide(narrator, trace, call, played)?;

        if let Some((other, exec)) =
            traces.iter().find_map(|trace| Some((trace, tool_calls(trace).find(|call| call.tool_name() == "exec")?)))
        {
            // Its session has been played to the end.
            let exec = exec.in_another_run();
            let played = self.player.play(&exec).await;
            narrator.step("The other plugins noticed nothing:")?;
            self.decide(narrator, other, &exec, played)?;
        }

        narrator.step(format!("The supervisor starts {VICTIM} again."))?;
        let back = |watch: &Watch| {
            watch.plugin(VICTIM).is_some_and(|plugin| plugin.is_ready() && plugin.generation > Some(generation))
        };
        self.watch
            .until("that the guard is back", READY_LIMIT, back, |plugin| {
                let after = duration(killed_at.elapsed());
                narrator.detail(format!("{after:>6} after the kill: {}", crate::cli::command::control::now(plugin)))
            })
            .await?;
        narrator.step("The agent asks again, and goes on where it was.")?;
        // The runtime hears of the new registration by itself; this takes it in.
        self.player.pause(PACE).await;
        let played = self.player.play(call).await;
        self.decide(narrator, trace, call, played)
    }

    /// The last act: what is on record.
    async fn look_back(&mut self, narrator: &mut Narrator<'_>) -> Result<(), Failure> {
        narrator.step(format!("What is on record (`outrigger why {VICTIM}`):"))?;
        let request = admin::ExplainPluginRequest { plugin_id: VICTIM.to_owned() };
        let explanation = Explanation::from(self.client.explain_plugin(request).await?.into_inner());
        if let Some(failure) = explanation.failures.first() {
            let generation = failure.generation.map(|number| number.to_string()).unwrap_or_default();
            let message = failure.message.as_deref().unwrap_or(&failure.cause);
            narrator.detail(format!("generation {generation}, while {}: {message}", failure.phase))?;
        }
        let list = self.client.list_plugins(admin::ListPluginsRequest::default()).await?.into_inner();
        for plugin in list.plugins.into_iter().map(Plugin::from) {
            narrator.detail(format!(
                "{:<15} {}, generation {}, {}, {}",
                plugin.plugin_id,
                plugin.state,
                plugin.generation.unwrap_or_default(),
                count(plugin.denials, "denial"),
                count(u64::from(plugin.restarts), "restart"),
            ))?;
        }
        let totals = self.report.sentence();
        narrator.detail(totals)
    }

    fn decide(
        &mut self,
        narrator: &mut Narrator<'_>,
        trace: &Trace,
        call: &Call,
        played: Played,
    ) -> Result<(), Failure> {
        match self.report.add(&trace.name, call, played) {
            Some(decision) => narrator.decision(decision),
            None => Ok(()),
        }
    }
}

/// The end: everything stops, and nothing is left.
pub(super) async fn end(
    narrator: &mut Narrator<'_>,
    global: &Global,
    supervisor: &mut Supervisor,
) -> Result<(), Failure> {
    let mut client = connection::admin(global).await?;
    let plugins = client.list_plugins(admin::ListPluginsRequest::default()).await?.into_inner().plugins;
    let pids: Vec<_> = plugins.iter().filter_map(|plugin| Pid::from_raw(i32::try_from(plugin.pid).ok()?)).collect();
    narrator.step("The supervisor is told to stop: it drains, stops its plugins, and ends.")?;
    let begun = Instant::now();
    client.stop_supervisor(admin::StopSupervisorRequest { timeout: None }).await?;
    let status = supervisor.ended(STOP_LIMIT).await.ok_or_else(|| {
        Failure::new(Exit::TimedOut, format!("the supervisor did not end within {}", duration(STOP_LIMIT)))
    })?;
    let took = duration(begun.elapsed());
    let left = pids.iter().filter(|pid| test_kill_process(**pid).is_ok()).count();
    if !status.success() || left > 0 {
        let left = count(left as u64, "process");
        return Err(Failure::new(Exit::Failed, format!("the supervisor ended with {status} and left {left}")));
    }
    narrator.detail(format!(
        "gone after {took}, {} with it, and its directory is removed",
        count(pids.len() as u64, "plugin")
    ))
}

fn tool_calls(trace: &Trace) -> impl Iterator<Item = &Call> {
    trace.calls.iter().filter(|call| call.hook == Hook::BeforeToolCall)
}

fn signal(pid: Pid, signal: Signal) -> Result<(), Failure> {
    kill_process(pid, signal)
        .map_err(|error| Failure::new(Exit::Failed, format!("{VICTIM}, pid {pid}, cannot be signalled: {error}")))
}
