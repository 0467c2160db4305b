//! A supervisor of the test's own, with its files, plugins and clients.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use outrigger::transport::client::{KeyInterceptor, connect};
use outrigger::transport::paths;
use outrigger_proto::admin::v1::admin_service_client::AdminServiceClient;
use outrigger_proto::admin::v1::tail_logs_response::Line;
use outrigger_proto::admin::v1::{
    ExplainPluginRequest, ExplainPluginResponse, GetPluginRequest, GetPluginResponse, PluginStatus,
    ReloadPluginRequest, ReloadPluginResponse, StartPluginRequest, StopPluginRequest, StopPluginResponse,
    TailLogsRequest, WatchPluginsRequest,
};
use outrigger_proto::runtime::v1::runtime_service_client::RuntimeServiceClient;
use outrigger_proto::runtime::v1::{AttachRequest, AttachResponse};
use outrigger_proto::types::v1::{PluginState, ProtocolRange};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::hooks::{self, Called, HookStream, Keyed, Runtime};
use crate::package::Package;
use crate::processes::Identity;
use crate::programs::{program, traces};
use crate::{limit, processes};

/// An operator's client.
pub type Admin = AdminServiceClient<Keyed>;

/// Longest wait for one state, where the caller names none.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long what is killed may take to be gone.
const GONE: Duration = Duration::from_secs(3);
/// A variable of the supervisor's environment, which must not reach a plugin.
pub const FOREIGN_VARIABLE: &str = "OUTRIGGER_TESTS_SECRET_OF_THE_SUPERVISOR";

/// A world before its supervisor runs.
pub struct Setup {
    dir: TempDir,
    settings: BTreeMap<String, String>,
    packages: Vec<Package>,
    place: OwnedSemaphorePermit,
}

impl Setup {
    /// An empty world with short deadlines; waits until there is a place for it.
    ///
    /// # Panics
    /// There is no room for files.
    pub async fn new() -> Self {
        let place = limit::place().await;
        let dir = tempfile::Builder::new().prefix("or-").tempdir().expect("make a directory");
        let mut setup = Self { dir, settings: BTreeMap::new(), packages: Vec::new(), place };
        // Relations are those of the defaults: an unresponsive plugin is found before a cancelled call is overdue.
        for (name, value) in [
            ("startup", "15s"),
            ("hello", "1s"),
            ("drain", "500ms"),
            ("shutdown", "500ms"),
            ("terminate", "300ms"),
            ("stop_all", "5s"),
            ("empty", "3s"),
            ("cancel_grace", "1500ms"),
            ("ping", "250ms"),
            ("idle_ping", "500ms"),
            ("sample", "100ms"),
            ("backoff_first", "40ms"),
            ("backoff_max", "200ms"),
        ] {
            setup = setup.set(name, value);
        }
        setup
    }

    /// Sets a key of `[supervisor]` to a text.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> Self {
        self.set_raw(name, &Value::from(value).to_string())
    }

    /// Sets a key of `[supervisor]` to anything.
    #[must_use]
    pub fn set_raw(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a plugin.
    #[must_use]
    pub fn plugin(mut self, package: Package) -> Self {
        self.packages.push(package);
        self
    }

    /// The world's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the control sockets will be.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        self.dir().join("run")
    }

    /// Where keys and durable data will be.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// Writes all files and starts the supervisor.
    ///
    /// # Panics
    /// It does not come to accept.
    pub async fn start(self) -> World {
        for package in &self.packages {
            package.write(&self.dir().join("packages"));
        }
        let mut text = String::from("[supervisor]\n");
        for (name, value) in &self.settings {
            text += &format!("{name} = {value}\n");
        }
        text.extend(self.packages.iter().map(Package::entry_text));
        fs::write(self.dir().join("outrigger.toml"), text).expect("write the configuration");
        let Self { dir, place, .. } = self;
        let mut world = World { dir, running: None, known: Vec::new(), _place: place };
        world.start().await;
        world
    }
}

struct Running {
    child: Child,
    admin: Admin,
    runtime: Runtime,
    directives: JoinHandle<()>,
}

/// A running supervisor with its plugins. Dropping it kills the supervisor and checks that nothing is left.
pub struct World {
    dir: TempDir,
    running: Option<Running>,
    /// Supervisors and keepers seen so far.
    known: Vec<Identity>,
    _place: OwnedSemaphorePermit,
}

impl World {
    /// The world's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where a plugin's package is.
    #[must_use]
    pub fn package_dir(&self, plugin: &str) -> PathBuf {
        self.dir().join("packages").join(plugin)
    }

    /// Where a plugin's data are; its processes have the path in their environment.
    #[must_use]
    pub fn data_dir(&self, plugin: &str) -> PathBuf {
        self.state_dir().join("data").join(plugin)
    }

    /// Where the control sockets are.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        self.dir().join("run")
    }

    /// Where keys and durable data are.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// The supervisor's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// An operator's client.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.running().admin.clone()
    }

    /// A runtime's client, attached.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        self.running().runtime.clone()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the test has not ended its supervisor")
    }

    /// Starts the supervisor, again after its end, and attaches a runtime.
    ///
    /// # Panics
    /// It ends, or does not accept in time.
    pub async fn start(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).expect("open the log");
        let mut command = self.outrigger();
        command.arg("run").arg("--config").arg(self.dir().join("outrigger.toml"));
        let log_level = std::env::var("OUTRIGGER_LOG").unwrap_or_else(|_| "info".to_owned());
        command.env(FOREIGN_VARIABLE, "must not be seen").env("OUTRIGGER_LOG", log_level);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("share the log")).stderr(log).process_group(0);
        let mut child = Reaped(Some(command.spawn().expect("start outrigger")));
        let channel = self.dial(&paths::runtime_socket(&self.runtime_dir()), &mut child).await;
        let key =
            KeyInterceptor::from_file(&self.state_dir().join("keys/default.key")).expect("read the runtime's key");
        let runtime = RuntimeServiceClient::with_interceptor(channel, key);
        let channel = self.dial(&paths::admin_socket(&self.runtime_dir()), &mut child).await;
        let key = KeyInterceptor::from_file(&paths::admin_key(&self.state_dir())).expect("read the operator's key");
        let admin = AdminServiceClient::with_interceptor(channel, key);
        let mut stream = attach(&runtime).await;
        let first = stream.message().await.expect("be attached").expect("the stream goes on");
        assert!(!first.directives.is_empty(), "the first directives are Welcome and Contributions");
        let directives = tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
        let child = child.0.take().expect("it was just started");
        self.known.extend(Identity::of(child.id()));
        self.running = Some(Running { child, admin, runtime, directives });
    }

    /// Dials a control socket until it accepts.
    async fn dial(&self, socket: &Path, child: &mut Reaped) -> Channel {
        let end = Instant::now() + PATIENCE;
        loop {
            match connect(socket).await {
                Ok(channel) => return channel,
                Err(error) => {
                    let ended = child.0.as_mut().and_then(|child| child.try_wait().expect("ask for the supervisor"));
                    assert!(ended.is_none(), "the supervisor ended with {ended:?}:\n{}", self.log_tail());
                    assert!(Instant::now() < end, "the supervisor does not accept: {error}\n{}", self.log_tail());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
    }

    /// A command of the `outrigger` program for this world.
    #[must_use]
    pub fn outrigger(&self) -> Command {
        let mut command = Command::new(program("outrigger"));
        command.arg("--runtime-dir").arg(self.runtime_dir()).arg("--state-dir").arg(self.state_dir());
        command
    }

    /// Plays all recorded traces by `outrigger replay`, as a runtime of its own: the place of the one that is attached is
    /// not to be had. The report.
    ///
    /// # Panics
    /// It fails, or a trace cannot be read.
    pub async fn replay(&self) -> Value {
        let added = self.cli(&["key", "add", "recorded"]).await;
        assert!(added.status.success(), "{added:?}");
        let traces = traces();
        let files = traces.iter().map(|path| path.to_str().expect("the path is text"));
        let arguments: Vec<_> = ["--json", "replay", "--runtime", "recorded"].into_iter().chain(files).collect();
        let output = self.cli(&arguments).await;
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("it prints one JSON document")
    }

    /// Runs a command of the `outrigger` program to its end.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.outrigger());
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.output().await.expect("run outrigger")
    }

    /// Calls the hook before a call of `tool`, by the unary method.
    ///
    /// # Panics
    /// The supervisor does not carry it out.
    pub async fn call(&self, tool: &str, params: &Value) -> Called {
        hooks::invoke(&self.running().runtime, tool, params).await.expect("the supervisor carries the call out")
    }

    /// Opens a stream of hook calls.
    ///
    /// # Panics
    /// The supervisor refuses it.
    pub async fn hook_stream(&self) -> HookStream {
        HookStream::open(&self.running().runtime).await.expect("open a stream of calls")
    }

    /// Waits until the statuses of all plugins satisfy a question, and answers it.
    ///
    /// # Panics
    /// They do not in time; the message has them.
    pub async fn wait_until<T>(
        &self,
        what: &str,
        question: impl FnMut(&BTreeMap<String, PluginStatus>) -> Option<T>,
    ) -> T {
        wait_until(&self.admin(), what, question).await
    }

    /// Waits until a plugin is in a state; its status then.
    ///
    /// # Panics
    /// It is not in time.
    pub async fn wait_for(&self, plugin: &str, state: PluginState) -> PluginStatus {
        let is = |statuses: &BTreeMap<String, PluginStatus>| {
            statuses.get(plugin).filter(|status| status.state() == state).cloned()
        };
        self.wait_until(&format!("{plugin} is {state:?}"), is).await
    }

    /// Waits until a plugin serves.
    ///
    /// # Panics
    /// It does not in time.
    pub async fn ready(&self, plugin: &str) -> PluginStatus {
        self.wait_for(plugin, PluginState::Ready).await
    }

    /// A plugin now.
    ///
    /// # Panics
    /// The supervisor does not tell.
    pub async fn status(&self, plugin: &str) -> PluginStatus {
        self.full(plugin).await.status.expect("the answer has the status")
    }

    /// A plugin in full.
    ///
    /// # Panics
    /// The supervisor does not tell.
    pub async fn full(&self, plugin: &str) -> GetPluginResponse {
        let request = GetPluginRequest { plugin_id: plugin.to_owned() };
        self.admin().get_plugin(request).await.expect("ask for the plugin").into_inner()
    }

    /// Why a plugin is as it is.
    ///
    /// # Panics
    /// The supervisor does not tell.
    pub async fn explain(&self, plugin: &str) -> ExplainPluginResponse {
        let request = ExplainPluginRequest { plugin_id: plugin.to_owned() };
        self.admin().explain_plugin(request).await.expect("ask why").into_inner()
    }

    /// Names of a plugin's last failures, newest first: what `why` shows before the colon.
    ///
    /// # Panics
    /// The supervisor does not tell.
    pub async fn causes(&self, plugin: &str) -> Vec<String> {
        let failures = self.explain(plugin).await.failures;
        failures.into_iter().map(|failure| failure.cause_name).collect()
    }

    /// Waits until a plugin has failed at least so often, as its records tell.
    ///
    /// # Panics
    /// It has not in time.
    pub async fn failed(&self, plugin: &str, times: usize) -> ExplainPluginResponse {
        match self.failed_within(plugin, times, PATIENCE).await {
            Some(explained) => explained,
            None => unreachable!("{plugin} has not failed {times} times: {:?}", self.explain(plugin).await),
        }
    }

    /// As [`failed`](Self::failed); `None` at the limit.
    ///
    /// # Panics
    /// The supervisor does not tell.
    pub async fn failed_within(&self, plugin: &str, times: usize, limit: Duration) -> Option<ExplainPluginResponse> {
        let end = Instant::now() + limit;
        loop {
            let explained = self.explain(plugin).await;
            if explained.failures.len() >= times {
                return Some(explained);
            }
            if Instant::now() >= end {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What a plugin has written so far, as far as the ring has it.
    ///
    /// # Panics
    /// The supervisor does not tell.
    pub async fn log_of(&self, plugin: &str) -> Vec<Line> {
        let request = TailLogsRequest { plugin_id: plugin.to_owned(), lines: 10_000, ..TailLogsRequest::default() };
        let mut stream = self.admin().tail_logs(request).await.expect("ask for the log").into_inner();
        let mut lines = Vec::new();
        while let Some(message) = stream.message().await.expect("read the log") {
            lines.extend(message.lines);
        }
        lines
    }

    /// Waits until a plugin has written a line with this text; the line.
    ///
    /// # Panics
    /// It has not in time.
    pub async fn told(&self, plugin: &str, text: &str) -> String {
        match self.told_within(plugin, text, PATIENCE).await {
            Some(line) => line,
            None => unreachable!("{plugin} has not told `{text}`: {:?}", self.log_of(plugin).await),
        }
    }

    /// As [`told`](Self::told); `None` at the limit.
    ///
    /// # Panics
    /// The supervisor does not tell.
    pub async fn told_within(&self, plugin: &str, text: &str, limit: Duration) -> Option<String> {
        let request = TailLogsRequest { plugin_id: plugin.to_owned(), lines: 10_000, follow: true, generation: 0 };
        let mut stream = self.admin().tail_logs(request).await.expect("follow the log").into_inner();
        let found = async {
            while let Ok(Some(message)) = stream.message().await {
                if let Some(line) = message.lines.into_iter().find(|line| line.text.contains(text)) {
                    return Some(line.text);
                }
            }
            None
        };
        tokio::time::timeout(limit, found).await.ok().flatten()
    }

    /// Stops a plugin, its guards too.
    ///
    /// # Errors
    /// As the supervisor answers.
    pub async fn stop(&self, plugin: &str) -> Result<StopPluginResponse, Status> {
        let request =
            StopPluginRequest { plugin_id: plugin.to_owned(), confirm_unguarded: true, ..StopPluginRequest::default() };
        Ok(self.admin().stop_plugin(request).await?.into_inner())
    }

    /// Starts a plugin and waits until it serves.
    ///
    /// # Errors
    /// As the supervisor answers.
    pub async fn start_plugin(&self, plugin: &str, reset: bool) -> Result<PluginStatus, Status> {
        let request = StartPluginRequest { plugin_id: plugin.to_owned(), reset };
        let response = self.admin().start_plugin(request).await?.into_inner();
        Ok(response.plugin.expect("the answer has the status"))
    }

    /// Reloads a plugin and waits until the new generation serves.
    ///
    /// # Errors
    /// As the supervisor answers.
    pub async fn reload(&self, plugin: &str) -> Result<ReloadPluginResponse, Status> {
        let request = ReloadPluginRequest { plugin_id: plugin.to_owned(), drain_timeout: None };
        Ok(self.admin().reload_plugin(request).await?.into_inner())
    }

    /// Living processes of a plugin, whichever launch they are of.
    #[must_use]
    pub fn processes_of(&self, plugin: &str) -> std::collections::BTreeSet<u32> {
        processes::of_data(&self.data_dir(plugin))
    }

    /// Living processes of all plugins.
    #[must_use]
    pub fn processes(&self) -> std::collections::BTreeSet<u32> {
        processes::of_data(&self.state_dir().join("data"))
    }

    /// Asserts that no process of a plugin is left, or will be in a moment.
    ///
    /// # Panics
    /// One is.
    pub async fn assert_empty(&self, plugin: &str) {
        let left = processes::gone(GONE, || self.processes_of(plugin)).await;
        assert!(
            left.is_empty(),
            "left of {plugin}: {:?}",
            left.into_iter().map(processes::describe).collect::<Vec<_>>()
        );
    }

    /// Memory of the supervisor's own, bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        processes::memory(self.pid())
    }

    /// Kills the supervisor as nothing else can be, and waits until it is reaped. Plugins are not waited for.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        self.note_keepers();
        let mut running = self.running.take().expect("the test has not ended its supervisor");
        running.directives.abort();
        running.child.kill().expect("kill the supervisor");
        running.child.wait().expect("reap the supervisor");
    }

    /// Asks the supervisor to stop by SIGTERM and waits until it has.
    ///
    /// # Panics
    /// It does not in time.
    pub async fn terminate(&mut self) -> ExitStatus {
        processes::signal(self.pid(), Signal::TERM);
        self.wait_end().await
    }

    /// Waits until the supervisor, which somebody asked to stop, has ended.
    ///
    /// # Panics
    /// It has not in time.
    pub async fn wait_end(&mut self) -> ExitStatus {
        self.note_keepers();
        let end = Instant::now() + PATIENCE;
        loop {
            let child = &mut self.running.as_mut().expect("the test has not ended its supervisor").child;
            if let Some(status) = child.try_wait().expect("ask for the supervisor") {
                self.running.take().expect("it was there").directives.abort();
                return status;
            }
            assert!(Instant::now() < end, "the supervisor does not end:\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Keepers have no environment; they are known as children of the supervisor.
    fn note_keepers(&mut self) {
        if let Some(running) = &self.running {
            let supervisor = running.child.id();
            let below = processes::descendants(supervisor);
            let children = below.into_iter().filter(|pid| processes::parent(*pid) == Some(supervisor));
            self.known.extend(children.filter_map(Identity::of));
        }
    }

    /// Processes of plugins, keepers and supervisors of this world that live.
    #[must_use]
    pub fn left(&self) -> std::collections::BTreeSet<u32> {
        left(&self.state_dir().join("data"), &self.known)
    }

    fn log_path(&self) -> PathBuf {
        self.dir().join("supervisor.log")
    }

    /// The last lines of the supervisor's own log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

fn left(data: &Path, known: &[Identity]) -> std::collections::BTreeSet<u32> {
    let mut found = processes::of_data(data);
    found.extend(known.iter().filter(|known| known.lives()).map(|known| known.pid));
    found
}

impl Drop for World {
    fn drop(&mut self) {
        self.note_keepers();
        if let Some(mut running) = self.running.take() {
            running.directives.abort();
            // One that has ended meanwhile is reaped all the same.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        let (data, known) = (self.state_dir().join("data"), std::mem::take(&mut self.known));
        let found = processes::wait_gone(GONE, || left(&data, &known));
        let told: Vec<_> = found.iter().copied().map(processes::describe).collect();
        for pid in &found {
            processes::signal(*pid, Signal::KILL);
        }
        unlock(&self.runtime_dir().join("launch"));
        if std::thread::panicking() {
            eprintln!("the supervisor's log of {}:\n{}", self.dir().display(), self.log_tail());
            if !told.is_empty() {
                eprintln!("and left behind: {told:?}");
            }
        } else {
            assert!(told.is_empty(), "left behind after the kill of the supervisor: {told:?}");
        }
    }
}

/// A killed supervisor leaves directories of launches, which only root could remove as they are.
fn unlock(launches: &Path) {
    for launch in fs::read_dir(launches).into_iter().flatten().flatten() {
        // One that stays is seen by whoever looks after the temporary directory.
        let _ = fs::set_permissions(launch.path(), fs::Permissions::from_mode(0o700));
    }
}

/// A child that is killed and reaped unless somebody takes it.
struct Reaped(Option<Child>);

impl Drop for Reaped {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn attach(runtime: &Runtime) -> Streaming<AttachResponse> {
    let request = AttachRequest {
        incarnation: 1,
        protocol: Some(ProtocolRange { min: 1, max: 1 }),
        software: "outrigger-tests".to_owned(),
        ..AttachRequest::default()
    };
    runtime.clone().attach(request).await.expect("attach").into_inner()
}

/// Waits until the statuses of all plugins satisfy a question, and answers it.
///
/// # Panics
/// They do not in time; the message has them.
pub async fn wait_until<T>(
    admin: &Admin,
    what: &str,
    mut question: impl FnMut(&BTreeMap<String, PluginStatus>) -> Option<T>,
) -> T {
    let mut statuses = BTreeMap::new();
    let watching = async {
        let mut stream =
            admin.clone().watch_plugins(WatchPluginsRequest::default()).await.expect("watch plugins").into_inner();
        while let Some(news) = stream.message().await.expect("the watch goes on") {
            statuses.extend(news.plugins.into_iter().map(|status| (status.plugin_id.clone(), status)));
            if let Some(answer) = question(&statuses) {
                return Some(answer);
            }
        }
        None
    };
    let answer = tokio::time::timeout(PATIENCE, watching).await;
    match answer {
        Ok(Some(answer)) => answer,
        Ok(None) => unreachable!("the supervisor stopped before: {what}"),
        Err(_) => unreachable!("not within {PATIENCE:?}: {what}: {statuses:#?}"),
    }
}
