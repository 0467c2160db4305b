//! One launch: what ends it, which cause is named, and what is told of it, in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_proto::plugin::v1 as wire;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::domain::failure::{FailureCause, FatalReason, Resource};
use crate::domain::ids::Generation;
use crate::domain::launch::{Connect, Enforced, ExitStatus, MemoryKill, Plan, Usage};
use crate::domain::settings::Settings;
use crate::domain::spec::PluginSpec;
use crate::service::events::Bus;
use crate::service::launch::{self, Command, Ended, Launch, News};
use crate::service::launch_state::{LaunchState, Parts, Phase};
use crate::service::log::LogRing;
use crate::service::runs::Runs;
use crate::service::session::{Ask, InvokeError, Session};
use crate::service::testing::{
    FakeLaunch, FakeLauncher, Heard, Talk, allow, hook, register, settings, settle, spec, within,
};

const SECOND: Duration = Duration::from_secs(1);
const TOKEN: &str = "token";

/// A launch whose owner and whose plugin are played by the test.
pub(super) struct Bench {
    pub(super) launch: Launch,
    pub(super) state: Arc<LaunchState>,
    pub(super) plugin: FakeLaunch,
    news: mpsc::Receiver<(Generation, News)>,
    tasks: TaskTracker,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(spec("p"), settings())
    }

    pub(super) fn with(spec: PluginSpec, settings: Settings) -> Self {
        let plan = Plan {
            plugin: spec.id.clone(),
            generation: Generation(7),
            nonce: "0".repeat(32),
            token: TOKEN.to_owned(),
            command: spec.command.clone(),
            connect: Connect::Relative,
            package_dir: spec.package_dir.clone(),
            data_dir: spec.data_dir.clone(),
            environment: spec.environment.clone(),
            limits: spec.limits.clone(),
        };
        let (launched, plugin) = FakeLauncher::new().make(plan);
        let tasks = TaskTracker::new();
        let bus = Bus::new(1);
        let state = LaunchState::new(Parts {
            startup_deadline: Instant::now() + settings.startup,
            spec: Arc::new(spec),
            settings: Arc::new(settings),
            generation: Generation(7),
            reason: wire::LaunchReason::Start,
            logs: Arc::new(LogRing::new()),
            runs: Runs::new(Arc::clone(&bus), tasks.clone()),
            registry: crate::service::registry::Registry::new(),
            bus,
            busy_poll: Arc::default(),
            token: TOKEN.to_owned(),
            session_secret: "secret".to_owned(),
        });
        let (tell, news) = mpsc::channel(16);
        let launch = launch::run(Arc::clone(&state), launched, tell, &tasks);
        Self { launch, state, plugin, news, tasks }
    }

    pub(super) async fn news(&mut self) -> News {
        let (generation, news) = self.news.recv().await.expect("the launch has something to tell");
        assert_eq!(generation, Generation(7));
        news
    }

    pub(super) async fn registered(&mut self) -> Arc<Session> {
        match self.news().await {
            News::Registered(session) => session,
            other => unreachable!("Registered was due: {}", name(&other)),
        }
    }

    pub(super) async fn ended(&mut self) -> Ended {
        match self.news().await {
            News::Ended(ended) => *ended,
            other => unreachable!("Ended was due: {}", name(&other)),
        }
    }

    /// A plugin that is registered, with its session.
    async fn serving(&mut self) -> (Talk, Arc<Session>) {
        let talk = self.plugin.registered(register(vec![hook("h", &[])])).await;
        let session = self.registered().await;
        (talk, session)
    }

    /// The end of everything: nothing of the launch runs any more.
    pub(super) async fn over(mut self) {
        match self.news().await {
            News::Empty => {}
            other => unreachable!("Empty was due: {}", name(&other)),
        }
        drop((self.launch, self.plugin));
        self.tasks.close();
        self.tasks.wait().await;
        assert!(self.news.recv().await.is_none(), "nothing is told after the end");
    }
}

fn name(news: &News) -> String {
    match news {
        News::Registered(_) => "registered".to_owned(),
        News::Drained => "drained".to_owned(),
        News::Overdue(why) => format!("overdue: {why}"),
        News::Ended(ended) => format!("ended: {} {:?}", ended.phase, ended.cause),
        News::Empty => "empty".to_owned(),
    }
}

fn call(
    session: &Arc<Session>,
    time: Duration,
) -> tokio::task::JoinHandle<Result<wire::invocation_result::Outcome, InvokeError>> {
    let now = Instant::now();
    let ask = Ask::new(0, now, now + time, wire::Invocation::default());
    let session = Arc::clone(session);
    tokio::spawn(async move { session.invoke(ask).await })
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_calls_at_once_and_has_its_exit() {
    within(async {
        let mut bench = Bench::new();
        let (mut talk, session) = bench.serving().await;
        let pending = call(&session, 60 * SECOND);
        talk.call().await;
        bench.plugin.tree.print_error("about to die\nlast words").await;
        let started = Instant::now();
        bench.plugin.tree.die(ExitStatus::Signalled(11));
        assert!(matches!(pending.await.expect("no panic"), Err(InvokeError::Ended(_))));
        assert_eq!(started.elapsed(), Duration::ZERO);
        let ended = bench.ended().await;
        assert_eq!(ended.cause, FailureCause::Crashed(ExitStatus::Signalled(11)));
        assert_eq!(ended.exit.map(|record| record.status), Some(ExitStatus::Signalled(11)));
        assert_eq!((ended.phase, ended.cut_off), ("ready", 1));
        assert_eq!(ended.stderr_tail, ["about to die", "last words"]);
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_phase_is_that_in_which_it_ended() {
    within(async {
        let mut bench = Bench::new();
        bench.plugin.tree.die(ExitStatus::Exited(1));
        assert_eq!(bench.ended().await.phase, "hello");
        bench.over().await;

        let mut bench = Bench::new();
        let (talk, _) = bench.plugin.welcomed().await;
        bench.plugin.tree.die(ExitStatus::Exited(1));
        assert_eq!(bench.ended().await.phase, "register");
        drop(talk);
        bench.over().await;

        // The session ends first, and says why; that is the phase, too.
        let mut bench = Bench::new();
        let (mut talk, _) = bench.plugin.welcomed().await;
        let mut must = hook("h", &["Bad Tool"]);
        must.options = Some(wire::HandlerOptions { must_accept: true, ..Default::default() });
        talk.control(wire::session_request::Control::Register(register(vec![must]))).await;
        assert!(talk.end().await.is_err());
        let ended = bench.ended().await;
        assert!(matches!(ended.cause, FailureCause::RegistrationRefused(_)), "{:?}", ended.cause);
        assert_eq!(ended.phase, "register");
        bench.over().await;

        let mut bench = Bench::new();
        let (mut talk, _) = bench.serving().await;
        talk.answer(99, allow()).await;
        assert!(talk.end().await.is_err());
        let ended = bench.ended().await;
        assert!(matches!(ended.cause, FailureCause::ProtocolViolation(_)), "{:?}", ended.cause);
        assert_eq!(ended.phase, "ready");
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_exit_counts_though_somebody_holds_the_connection() {
    within(async {
        let mut bench = Bench::new();
        let (_talk, session) = bench.serving().await;
        let pending = call(&session, 60 * SECOND);
        settle().await;
        bench.plugin.tree.exit_quietly(ExitStatus::Exited(0));
        let ended = bench.ended().await;
        assert_eq!(ended.cause, FailureCause::ExitedUnasked);
        assert_eq!(
            pending.await.expect("no panic"),
            Err(InvokeError::Ended(
                "ended while it had the call: It exited with status 0 though nobody asked it to".to_owned()
            ))
        );
        assert!(bench.plugin.tree.killed(), "what is left of its tree goes");
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_final_exit_code_is_told() {
    within(async {
        let mut bench = Bench::new();
        bench.plugin.tree.die(ExitStatus::Exited(78));
        assert_eq!(bench.ended().await.cause, FailureCause::FinalExit(78));
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_just_before_the_exit_has_the_exits_cause() {
    within(async {
        let mut bench = Bench::new();
        let (mut talk, _) = bench.serving().await;
        talk.out = None;
        settle().await;
        tokio::time::advance(Duration::from_millis(500)).await;
        bench.plugin.tree.die(ExitStatus::Exited(3));
        assert_eq!(bench.ended().await.cause, FailureCause::Crashed(ExitStatus::Exited(3)));
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_closes_its_session_and_lives_is_killed() {
    within(async {
        let mut bench = Bench::new();
        let (mut talk, session) = bench.serving().await;
        let pending = call(&session, 60 * SECOND);
        talk.call().await;
        let started = Instant::now();
        talk.out = None;
        assert!(matches!(pending.await.expect("no panic"), Err(InvokeError::Ended(_))));
        assert_eq!(started.elapsed(), Duration::ZERO, "its calls do not wait for its exit");
        let ended = bench.ended().await;
        assert_eq!((ended.cause, ended.phase), (FailureCause::SessionClosed, "ready"));
        assert!(bench.plugin.tree.killed());
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dialler_that_goes_ends_the_launch() {
    within(async {
        let mut bench = Bench::new();
        let (channel, gone) = bench.plugin.dial().await;
        let mut talk = Talk::open(channel).await.expect("it opens");
        talk.hello(TOKEN).await.expect("welcome");
        talk.register(register(vec![hook("h", &[])])).await.expect("registered");
        let session = bench.registered().await;
        let pending = call(&session, 60 * SECOND);
        talk.call().await;
        gone.cancel();
        assert!(matches!(pending.await.expect("no panic"), Err(InvokeError::Ended(_))));
        assert_eq!(bench.ended().await.cause, FailureCause::DialerGone);
        assert!(bench.plugin.tree.killed());
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_was_never_seen_registered_has_ended_all_the_same() {
    within(async {
        let mut bench = Bench::new();
        // Registered and ended before the launch's task has run once: the watch shows only the end.
        let (out, _frames) = crate::service::conversation::outbox();
        let registration =
            crate::service::registration::check(&register(vec![hook("h", &[])]), &spec("p")).expect("sound");
        let session = Session::new(Generation(7), registration, 1 << 22, out, Arc::default());
        bench
            .state
            .welcome(TOKEN, &crate::service::launch_state::ConnectionState::new(Instant::now()))
            .expect("the token is good");
        assert!(bench.state.registered(Arc::clone(&session)));
        bench.state.session_ended(crate::service::conversation::End::Violation("it lied".to_owned()));
        assert!(!session.is_accepting());
        let ended = bench.ended().await;
        assert_eq!((ended.cause, ended.phase), (FailureCause::ProtocolViolation("it lied".to_owned()), "ready"));
        bench.over().await;
    })
    .await;
}

/// The end is the end: a registration that was read late does not undo it.
#[tokio::test(start_paused = true)]
async fn nothing_follows_the_end() {
    within(async {
        let mut bench = Bench::new();
        let (out, _frames) = crate::service::conversation::outbox();
        let registration = crate::service::registration::check(&register(vec![]), &spec("p")).expect("sound");
        let session = Session::new(Generation(7), registration, 1 << 22, out, Arc::default());
        bench.state.session_ended(crate::service::conversation::End::Closed);
        assert!(!bench.state.registered(session));
        assert!(matches!(&*bench.state.phase().borrow(), Phase::Ended(..)));
        assert!(!bench.state.is_open());
        bench.ended().await;
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_fatal_reason_has_its_cause() {
    within(async {
        let reasons = [
            (wire::FatalReason::ConfigInvalid as i32, FatalReason::ConfigInvalid),
            (wire::FatalReason::HostUnsuitable as i32, FatalReason::HostUnsuitable),
            (wire::FatalReason::DependencyMissing as i32, FatalReason::DependencyMissing),
            (wire::FatalReason::Internal as i32, FatalReason::Internal),
            (wire::FatalReason::Unspecified as i32, FatalReason::Internal),
            (99, FatalReason::Internal),
        ];
        for (reason, expected) in reasons {
            for registered in [false, true] {
                let mut bench = Bench::new();
                let (mut talk, _) = bench.plugin.welcomed().await;
                if registered {
                    talk.register(register(vec![])).await.expect("registered");
                    bench.registered().await;
                }
                let fatal =
                    wire::Fatal { reason, message: "no\u{1b}[m good".to_owned(), config_path: "a.b".to_owned() };
                talk.control(wire::session_request::Control::Fatal(fatal)).await;
                let ended = bench.ended().await;
                let message = "a.b: no [m good".to_owned();
                assert_eq!(ended.cause, FailureCause::Fatal { reason: expected, message });
                bench.over().await;
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn over_a_limit_in_two_samples_it_is_killed_with_evidence() {
    within(async {
        let mut spec = spec("p");
        spec.limits.memory_bytes = Some(1000);
        spec.limits.processes = Some(3);
        let mut bench = Bench::with(spec, Settings { sample: SECOND, ..settings() });
        let (_talk, _) = bench.serving().await;
        let usage = |memory_bytes, processes| Usage { memory_bytes, processes, ..Usage::default() };
        let tree = Arc::clone(&bench.plugin.tree);
        let set = |now| *tree.usage.lock().expect("no test panics with it") = now;
        // At the bound it may be, and one sample over it is forgiven.
        set(usage(1000, 3));
        tokio::time::sleep(5 * SECOND).await;
        set(usage(1001, 3));
        tokio::time::sleep(SECOND).await;
        set(usage(1000, 3));
        tokio::time::sleep(5 * SECOND).await;
        assert!(!bench.plugin.tree.killed());
        assert_eq!(bench.launch.resources.borrow().peak_memory_bytes, 1001);
        set(usage(10, 4));
        let ended = bench.ended().await;
        assert_eq!(ended.cause, FailureCause::ResourceLimit { resource: Resource::Processes, used: 4, limit: 3 });
        assert_eq!(ended.evidence, ["thread 1 waits in nowhere", "unreadable: open files"]);
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn memory_that_the_kernel_limits_is_left_to_it() {
    within(async {
        let mut spec = spec("p");
        spec.limits.memory_bytes = Some(1000);
        let mut bench = Bench::with(spec, Settings { sample: SECOND, ..settings() });
        let (_talk, _) = bench.serving().await;
        let tree = Arc::clone(&bench.plugin.tree);
        tree.keeps_memory.store(true, Ordering::Relaxed);
        *tree.usage.lock().expect("no test panics with it") = Usage { memory_bytes: 1500, ..Usage::default() };
        tokio::time::sleep(5 * SECOND).await;
        assert!(!tree.killed(), "shared pages count more than once in a sum");
        // It has left its group.
        tree.keeps_memory.store(false, Ordering::Relaxed);
        let ended = bench.ended().await;
        assert_eq!(ended.cause, FailureCause::ResourceLimit { resource: Resource::Memory, used: 1500, limit: 1000 });
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_for_memory_is_the_cause_whether_or_not_the_plugin_outlives_it() {
    within(async {
        for outlives in [false, true] {
            let mut bench = Bench::with(spec("p"), Settings { sample: SECOND, ..settings() });
            let (_talk, _) = bench.serving().await;
            let tree = Arc::clone(&bench.plugin.tree);
            let kill = MemoryKill { used: 999, limit: 1000 };
            *tree.enforced.lock().expect("no test panics with it") = Enforced { memory_kill: Some(kill), refused: 0 };
            if !outlives {
                tree.die(ExitStatus::Signalled(9));
            }
            let ended = bench.ended().await;
            let cause = FailureCause::ResourceLimit { resource: Resource::Memory, used: 999, limit: 1000 };
            assert_eq!(ended.cause, cause);
            let words = "Its processes wanted more than the 1000 bytes of memory they may have (999 used).";
            assert_eq!(ended.cause.to_string(), words);
            bench.over().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refused_forks_are_told_when_they_begin() {
    within(async {
        let mut bench = Bench::with(spec("p"), Settings { sample: SECOND, ..settings() });
        let (_talk, _) = bench.serving().await;
        let tree = Arc::clone(&bench.plugin.tree);
        for refused in [5, 7, 7, 8] {
            *tree.enforced.lock().expect("no test panics with it") = Enforced { memory_kill: None, refused };
            let mut resources = bench.launch.resources.clone();
            resources.mark_unchanged();
            resources.changed().await.expect("it is sampled");
            assert_eq!(resources.borrow().refused, refused);
        }
        // The line of the last sample follows its numbers.
        tokio::time::sleep(SECOND).await;
        let lines = bench.launch.state.logs.read(0, 100).lines;
        let told: Vec<&str> =
            lines.iter().map(|line| line.text.as_str()).filter(|text| text.contains("kernel refused")).collect();
        let line = |count| format!("the kernel refused it {count} new processes or threads, as its tree has too many");
        assert_eq!(told, [line(5), line(1)]);
        assert!(!tree.killed());
        bench.launch.tell(Command::Kill);
        bench.ended().await;
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn three_pings_without_an_answer_are_the_end() {
    within(async {
        let mut bench = Bench::new();
        let (mut talk, session) = bench.serving().await;
        talk.pongs = false;
        let pending = call(&session, 60 * SECOND);
        talk.call().await;
        let started = Instant::now();
        let ended = bench.ended().await;
        assert_eq!(ended.cause, FailureCause::Unresponsive);
        assert!(!ended.evidence.is_empty());
        assert_eq!(started.elapsed().as_secs(), 4);
        assert!(matches!(pending.await.expect("no panic"), Err(InvokeError::Ended(_))));
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_pings_may_be_slow() {
    within(async {
        let mut bench = Bench::new();
        let (talk, session) = bench.serving().await;
        let called = talk.serve(&bench.plugin.tree, |_| None);
        let pending = call(&session, 600 * SECOND);
        tokio::time::sleep(300 * SECOND).await;
        assert!(!bench.plugin.tree.killed() && !pending.is_finished());
        assert_eq!(called.calls().len(), 1);
        pending.abort();
    })
    .await;
}

/// Idle the supervisor asks every 30 s, with something in flight every second.
#[tokio::test(start_paused = true)]
async fn pings_have_two_paces() {
    within(async {
        let mut bench = Bench::new();
        let (mut talk, session) = bench.serving().await;
        talk.pongs = false;
        let started = Instant::now();
        let ping = talk.next().await;
        assert!(
            matches!(ping, Ok(Some(Heard::Control(wire::session_response::Control::Ping(wire::Ping { ping_id: 1 }))))),
            "{ping:?}"
        );
        assert_eq!(started.elapsed().as_secs(), 30);
        talk.control(wire::session_request::Control::Pong(wire::Pong { ping_id: 1 })).await;
        let _pending = call(&session, 600 * SECOND);
        let asked = talk.call().await;
        let busy = Instant::now();
        assert!(matches!(talk.next().await, Ok(Some(Heard::Control(wire::session_response::Control::Ping(_))))));
        assert!(busy.elapsed() <= SECOND, "{:?}", busy.elapsed());
        talk.answer(asked.invocation_id, allow()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_serial_plugin_is_left_alone_while_it_works() {
    within(async {
        let mut bench = Bench::new();
        let (mut talk, _) = bench.plugin.welcomed().await;
        talk.pongs = false;
        talk.register(wire::Register { serial: true, max_in_flight: 64, ..register(vec![hook("h", &[])]) })
            .await
            .expect("registered");
        let session = bench.registered().await;
        let first = call(&session, 120 * SECOND);
        let second = call(&session, 120 * SECOND);
        let asked = talk.call().await;
        tokio::time::sleep(100 * SECOND).await;
        assert!(!bench.plugin.tree.killed());
        talk.answer(asked.invocation_id, allow()).await;
        assert_eq!(first.await.expect("no panic"), Ok(allow()));
        let asked = talk.call().await;
        assert_eq!(asked.invocation_id, 2, "one at a time");
        talk.answer(2, allow()).await;
        assert_eq!(second.await.expect("no panic"), Ok(allow()));
    })
    .await;
}

/// A cancelled call that does not end is told again and again, as the life cycle may have had no use for it the first time.
#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_end_is_told_until_it_ends() {
    within(async {
        let mut bench = Bench::new();
        let (talk, session) = bench.serving().await;
        let _called = talk.serve(&bench.plugin.tree, |_| None);
        let started = Instant::now();
        assert_eq!(call(&session, SECOND).await.expect("no panic"), Err(InvokeError::TimedOut { sent: true }));
        for round in 1..=3 {
            match bench.news().await {
                News::Overdue(why) => assert!(why.contains("invocation 1"), "{why}"),
                other => unreachable!("{}", name(&other)),
            }
            let elapsed = started.elapsed().as_secs();
            assert!((1 + 10 * round..=2 + 10 * round + round).contains(&elapsed), "{round}: {elapsed}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_found_before_the_watch_is_no_less_a_fault() {
    within(async {
        let bench = Bench::new();
        let (out, _frames) = crate::service::conversation::outbox();
        let registration = crate::service::registration::check(&register(vec![]), &spec("p")).expect("sound");
        let session = Session::new(Generation(7), registration, 1 << 22, out, Arc::default());
        session.fail(crate::service::session::Fault::NotReading);
        let (alarm, mut alarms) = mpsc::channel(4);
        let watching = tokio::spawn(crate::service::watchdog::watch(Arc::clone(&bench.state), session, alarm));
        let alarm = tokio::time::timeout(SECOND, alarms.recv()).await;
        assert_eq!(alarm, Ok(Some(crate::service::watchdog::Alarm::Fault(crate::service::session::Fault::NotReading))));
        watching.await.expect("no panic");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_the_last_call_does() {
    within(async {
        let mut bench = Bench::new();
        let (mut talk, session) = bench.serving().await;
        let pending = call(&session, 60 * SECOND);
        let asked = talk.call().await;
        bench.launch.tell(Command::Drain(wire::StopReason::Stop, 5 * SECOND));
        assert!(matches!(talk.next().await, Ok(Some(Heard::Control(wire::session_response::Control::Drain(_))))));
        assert!(!session.is_accepting());
        talk.answer(asked.invocation_id, allow()).await;
        assert_eq!(pending.await.expect("no panic"), Ok(allow()));
        assert!(matches!(bench.news().await, News::Drained));
    })
    .await;
}

/// The usual way of a gRPC client: close the sending side, read until the stream ends, exit.
#[tokio::test(start_paused = true)]
async fn after_shutdown_the_stream_ends_with_ok_and_then_the_process() {
    within(async {
        let mut bench = Bench::new();
        let (mut talk, _) = bench.serving().await;
        bench.launch.tell(Command::Shutdown(wire::StopReason::Stop, 3 * SECOND));
        assert!(matches!(talk.next().await, Ok(Some(Heard::Control(wire::session_response::Control::Shutdown(_))))));
        talk.out = None;
        let ended = tokio::time::timeout(2 * SECOND, talk.end()).await;
        assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
        assert!(!bench.plugin.tree.killed());
        bench.plugin.tree.die(ExitStatus::Exited(0));
        let ended = bench.ended().await;
        assert_eq!(ended.exit.map(|record| record.status), Some(ExitStatus::Exited(0)));
        assert_eq!(ended.phase, "stopping");
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_session_shutdown_is_a_signal_and_drain_is_done() {
    within(async {
        let mut bench = Bench::new();
        bench.launch.tell(Command::Drain(wire::StopReason::Stop, 5 * SECOND));
        assert!(matches!(bench.news().await, News::Drained));
        bench.launch.tell(Command::Shutdown(wire::StopReason::Stop, 3 * SECOND));
        settle().await;
        assert_eq!(bench.plugin.tree.terminations.load(Ordering::Relaxed), 1);
        bench.launch.tell(Command::Terminate);
        settle().await;
        assert_eq!(bench.plugin.tree.terminations.load(Ordering::Relaxed), 2);
        bench.launch.tell(Command::Kill);
        let ended = bench.ended().await;
        assert_eq!(ended.exit.map(|record| record.status), Some(ExitStatus::Signalled(9)));
        assert!(!ended.evidence.is_empty(), "what did not end by itself is looked at first");
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_does_not_die_is_told_when_it_does() {
    within(async {
        let mut bench = Bench::new();
        bench.plugin.tree.immortal.store(true, Ordering::Relaxed);
        let (_talk, session) = bench.serving().await;
        let started = Instant::now();
        bench.launch.tell(Command::Kill);
        let ended = bench.ended().await;
        assert_eq!(ended.exit, None);
        assert!(started.elapsed() < 4 * SECOND, "{:?}", started.elapsed());
        assert!(!session.is_accepting());
        tokio::time::sleep(100 * SECOND).await;
        assert!(bench.news.try_recv().is_err(), "it is not empty");
        bench.plugin.tree.die(ExitStatus::Signalled(9));
        bench.over().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_launch_kills_its_tree() {
    within(async {
        let Bench { launch, plugin, tasks, .. } = Bench::new();
        drop(launch);
        assert!(plugin.tree.killed());
        tasks.close();
        tasks.wait().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn output_is_captured_to_its_end() {
    within(async {
        let mut bench = Bench::new();
        for line in 0..100 {
            bench.plugin.tree.print_error(&format!("line {line}\n")).await;
        }
        bench.plugin.tree.die(ExitStatus::Exited(1));
        let ended = bench.ended().await;
        assert_eq!(ended.stderr_tail.len(), 50);
        assert_eq!(ended.stderr_tail.last().map(String::as_str), Some("line 99"));
        bench.over().await;
    })
    .await;
}
