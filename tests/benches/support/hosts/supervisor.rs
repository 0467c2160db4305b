//! The supervisor: the library's own, in a process with one thread, as `outrigger run` has it. Calls come from within
//! (one hop), or over its socket from another host (two).

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use outrigger::bench::Caller;
use outrigger::{Options, Supervisor};
use outrigger_proto::admin::v1 as admin;
use outrigger_proto::admin::v1::admin_service_client::AdminServiceClient;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use super::super::host::{Orders, window};
use super::super::machine::anonymous_bytes;
use super::super::measure::{Call, Numbers, cpu_time, numbers};
use super::super::supervised::Files;
use super::super::{Failure, Result};
use super::marks::{self, Mark, Marks};

/// A plugin that takes longer to start or to answer makes the benchmark fail.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a large call, and how many each plugin gets.
const LARGE: (usize, usize) = (256 * 1024, 20);
/// Calls in flight when a plugin is killed.
const PENDING: usize = 16;

#[derive(Clone)]
struct OneHop {
    caller: Caller,
    event: Bytes,
}

impl Call for OneHop {
    async fn call(&self) -> Result<()> {
        go_on(self.caller.before_tool_call("exec", self.event.clone()).await)
    }
}

fn go_on(passed: bool) -> Result<()> {
    if passed { Ok(()) } else { Err("the guard is absent or denied the call".into()) }
}

struct Host {
    caller: Caller,
    admin: AdminServiceClient<Channel>,
    key: MetadataValue<Ascii>,
    marks: Marks,
    plugins: Vec<String>,
}

pub(super) async fn host(directory: &Path) -> Result<()> {
    // As `outrigger run` does.
    outrigger::process::share_heaps();
    let marks = marks::install();
    let Files { config, runtime_dir, state_dir } = Files::of(directory);
    let supervisor = Supervisor::start(Options { config, runtime_dir, state_dir: state_dir.clone(), subreaper: true });
    let supervisor = supervisor.await?;
    let channel = super::stream::channel(UnixStream::connect(supervisor.admin_socket()).await?).await?;
    let key = std::fs::read_to_string(state_dir.join("admin.key"))?.trim_end().parse()?;
    let mut host =
        Host { caller: supervisor.caller(), admin: AdminServiceClient::new(channel), key, marks, plugins: Vec::new() };
    let listed = host.admin.clone().list_plugins(host.request(admin::ListPluginsRequest::default())).await?;
    host.plugins = listed.into_inner().plugins.into_iter().map(|plugin| plugin.plugin_id).collect();
    for plugin in host.plugins.clone() {
        host.start(&plugin).await?;
    }
    let one_hop = OneHop { caller: host.caller.clone(), event: super::event() };
    Orders::open()?
        .serve(async |order| match order["do"].as_str() {
            Some("spawn") => host.spawn().await,
            Some("kill") => host.kill().await,
            Some("cpu") => Ok(numbers([("cpu", cpu_time().as_nanos() as f64)])),
            Some("memory") => Ok(numbers([("bytes", anonymous_bytes("self")? as f64)])),
            Some("large") => host.large().await,
            Some("stop all") => host.all(false).await,
            Some("start all") => host.all(true).await,
            _ => window(order, &one_hop).await,
        })
        .await?;
    supervisor.stop().await;
    Ok(())
}

impl Host {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("outrigger-key", self.key.clone());
        request
    }

    fn first(&self) -> Result<&str> {
        Ok(self.plugins.first().ok_or("no plugin is configured")?)
    }

    async fn start(&self, plugin: &str) -> Result<()> {
        let request = admin::StartPluginRequest { plugin_id: plugin.to_owned(), reset: true };
        self.admin.clone().start_plugin(self.request(request)).await?;
        Ok(())
    }

    async fn stop(&self, plugin: &str) -> Result<()> {
        let plugin_id = plugin.to_owned();
        let request = admin::StopPluginRequest { plugin_id, confirm_unguarded: true, ..Default::default() };
        self.admin.clone().stop_plugin(self.request(request)).await?;
        Ok(())
    }

    async fn pid(&self) -> Result<u32> {
        let request = admin::GetPluginRequest { plugin_id: self.first()?.to_owned() };
        let plugin = self.admin.clone().get_plugin(self.request(request)).await?.into_inner();
        Ok(plugin.status.ok_or("a plugin without a status")?.pid)
    }

    /// Starts the first plugin anew: `ready` from the launch of its keeper to its registration, `answer` to its first
    /// answer, and `asked` from the operator's request, which has the durable note of the launch in it.
    async fn spawn(&mut self) -> Result<Numbers> {
        let plugin = self.first()?.to_owned();
        self.stop(&plugin).await?;
        self.marks.forget();
        let asked = Instant::now();
        let start = tokio::spawn({
            let (mut admin, request) =
                (self.admin.clone(), admin::StartPluginRequest { plugin_id: plugin, reset: true });
            let request = self.request(request);
            async move { admin.start_plugin(request).await.map(drop) }
        });
        let begun = self.marks.next(Mark::Starts).await?;
        let ready = self.marks.next(Mark::Ready).await?;
        go_on(self.caller.before_tool_call("exec", super::event()).await)?;
        let answered = Instant::now();
        start.await??;
        let nanos = |from: Instant, to: Instant| to.duration_since(from).as_nanos() as f64;
        Ok(numbers([
            ("ready", nanos(begun, ready)),
            ("answer", nanos(begun, answered)),
            ("asked", nanos(asked, ready)),
        ]))
    }

    /// Kills the first plugin while calls are in flight: `ended` from the signal to the last one's end, `pidfd` to when a
    /// thread that waits for nothing else is told of the very same death.
    async fn kill(&mut self) -> Result<Numbers> {
        let answers = Bytes::from_static(br#"{"params":{"answer":true}}"#);
        go_on(self.caller.before_tool_call("wait", answers).await)?;
        let pid = i32::try_from(self.pid().await?).ok().and_then(Pid::from_raw).ok_or("the plugin has no process")?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let watch = std::thread::spawn(move || {
            let polled = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None);
            polled.map(|_| Instant::now())
        });
        let mut pending = JoinSet::new();
        for _ in 0..PENDING {
            let caller = self.caller.clone();
            pending
                .spawn(async move { caller.before_tool_call("wait", Bytes::from_static(br#"{"params":{}}"#)).await });
        }
        // Time for the calls to be with the plugin, and for the thread to wait.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if pending.try_join_next().is_some() {
            return Err("a call ended before the plugin was killed".into());
        }
        self.marks.forget();
        let begin = Instant::now();
        kill_process(pid, Signal::KILL)?;
        let mut passed = 0;
        while let Some(went_on) = pending.join_next().await {
            passed += usize::from(went_on?);
        }
        let ended = begin.elapsed().as_nanos() as f64;
        if passed > 0 {
            return Err("a killed guard let a call pass".into());
        }
        self.marks.next(Mark::Ready).await?;
        let told = watch.join().map_err(|_| "the thread at the pidfd panicked")??;
        Ok(numbers([("ended", ended), ("pidfd", told.duration_since(begin).as_nanos() as f64)]))
    }

    /// Asks every plugin about large calls; plugin `n` guards the tool `tool-n`.
    async fn large(&self) -> Result<Numbers> {
        let text = "x".repeat(LARGE.0);
        let event = Bytes::from(format!(r#"{{"params":{{"text":"{text}"}}}}"#));
        for number in 0..self.plugins.len() {
            for _ in 0..LARGE.1 {
                go_on(self.caller.before_tool_call(&format!("tool-{number}"), event.clone()).await)?;
            }
        }
        Ok(Numbers::new())
    }

    /// Stops, or starts, all plugins side by side.
    async fn all(&self, start: bool) -> Result<Numbers> {
        let each = self.plugins.iter().map(async |plugin| {
            let done = async { if start { self.start(plugin).await } else { self.stop(plugin).await } };
            timeout(PATIENCE, done).await.map_err(|_| Failure::from(format!("`{plugin}` takes too long")))?
        });
        futures_util::future::try_join_all(each).await?;
        Ok(Numbers::new())
    }
}
