//! The services put together, with everything outside them played by the test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use outrigger_proto::admin::v1::admin_service_client::AdminServiceClient;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::runtime::v1::runtime_service_client::RuntimeServiceClient;
use outrigger_proto::types::v1::PluginState;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::launcher::channel;
use super::{ADMIN_KEY, Cut, FakeKeys, FakeLaunch, FakeLauncher, MemoryStore, RUNTIME_KEY};
use crate::domain::hook::Hook;
use crate::domain::ids::PluginId;
use crate::domain::keys::Keys;
use crate::domain::launch::{ControlConnection, Launcher, Peer};
use crate::domain::settings::Settings;
use crate::domain::spec::{Entry, PluginSpec};
use crate::domain::store::Store;
use crate::service::actor::Plugin;
use crate::service::dispatch::{Call, Dispatcher, Outcome};
use crate::service::service::{Service, ServiceParts};
use crate::service::view::Status as Seen;

type Keyed = InterceptedService<Channel, Key>;

/// Puts a key into every call.
#[derive(Clone)]
pub(crate) struct Key(Option<&'static str>);

impl tonic::service::Interceptor for Key {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(key) = self.0 {
            request.metadata_mut().insert("outrigger-key", key.parse().expect("a key is ASCII"));
        }
        Ok(request)
    }
}

/// Everything.
pub(crate) struct World {
    pub(crate) service: Service,
    pub(crate) launcher: Arc<FakeLauncher>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// What the files say of each plugin when they are read again.
    pub(crate) files: Arc<Mutex<BTreeMap<PluginId, Entry>>>,
    runtime_socket: mpsc::Sender<ControlConnection>,
    admin_socket: mpsc::Sender<ControlConnection>,
    alive: CancellationToken,
}

impl World {
    pub(crate) async fn new(settings: Settings, entries: Vec<Entry>) -> Self {
        Self::on(MemoryStore::new(), settings, entries).await
    }

    /// Plugins that can be started, with the default settings.
    pub(crate) async fn with(specs: Vec<PluginSpec>) -> Self {
        let entries = specs.into_iter().map(|spec| Entry::Sound(Box::new(spec))).collect();
        Self::new(super::settings(), entries).await
    }

    /// On a store that knows something already.
    pub(crate) async fn on(store: Arc<MemoryStore>, settings: Settings, entries: Vec<Entry>) -> Self {
        let launcher = FakeLauncher::new();
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let files: Arc<Mutex<BTreeMap<PluginId, Entry>>> = Arc::default();
        let records = store.load().await.expect("the store can be read");
        let reread = Arc::clone(&files);
        let service = Service::new(ServiceParts {
            settings,
            entries,
            records,
            launcher: Arc::clone(&launcher) as Arc<dyn Launcher>,
            store: Arc::clone(&store) as Arc<dyn Store>,
            keys: Arc::new(FakeKeys::new()) as Arc<dyn Keys>,
            reread: Arc::new(move |id| reread.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()),
            boot_id: "boot".to_owned(),
            event_epoch: 1,
            config_path: PathBuf::from("/outrigger.toml"),
            tasks: tasks.clone(),
            stopping: stopping.clone(),
        })
        .await;
        let (runtime_socket, runtimes) = mpsc::channel(4);
        let (admin_socket, operators) = mpsc::channel(4);
        service.serve_runtimes(runtimes);
        service.serve_operators(operators);
        let alive = CancellationToken::new();
        Self { service, launcher, store, stopping, tasks, files, runtime_socket, admin_socket, alive }
    }

    pub(crate) fn plugin(&self, id: &str) -> &Plugin {
        let id: PluginId = id.parse().expect("an id");
        &self.service.core.plugins[&id]
    }

    pub(crate) fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.service.runtime_api.dispatcher
    }

    /// The next launch.
    pub(crate) async fn launched(&self) -> FakeLaunch {
        self.launcher.next().await
    }

    /// Waits until a plugin's status is as wanted.
    pub(crate) async fn until(&self, id: &str, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        self.plugin(id).view.watch().wait_for(wanted).await.expect("the view lives").clone()
    }

    pub(crate) async fn until_state(&self, id: &str, state: PluginState) -> Seen {
        self.until(id, |status| status.state == state).await
    }

    /// What the files say from now on.
    pub(crate) fn write(&self, entry: Entry) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.id().clone(), entry);
    }

    /// Calls `before_tool_call` past the runtime's side.
    pub(crate) async fn call(&self, tool: &str, params: &str) -> Outcome {
        self.dispatcher().dispatch(before_tool_call(tool, params)).await
    }

    async fn connect(&self, socket: &mpsc::Sender<ControlConnection>) -> Channel {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let connection = ControlConnection { io: Box::new(theirs), peer: Peer { pid: 1, uid: 0 } };
        socket.send(connection).await.expect("the socket accepts");
        channel(Cut::new(ours, &self.alive)).await
    }

    /// Bytes of `runtime.sock`.
    pub(crate) async fn runtime_channel(&self) -> Channel {
        self.connect(&self.runtime_socket).await
    }

    /// Bytes of `admin.sock`.
    pub(crate) async fn admin_channel(&self) -> Channel {
        self.connect(&self.admin_socket).await
    }

    pub(crate) async fn runtime_with(&self, key: Option<&'static str>) -> RuntimeServiceClient<Keyed> {
        RuntimeServiceClient::with_interceptor(self.runtime_channel().await, Key(key))
            .max_decoding_message_size(64 * 1024 * 1024)
    }

    pub(crate) async fn runtime(&self) -> RuntimeServiceClient<Keyed> {
        self.runtime_with(Some(RUNTIME_KEY)).await
    }

    pub(crate) async fn admin_with(&self, key: Option<&'static str>) -> AdminServiceClient<Keyed> {
        AdminServiceClient::with_interceptor(self.admin_channel().await, Key(key))
    }

    pub(crate) async fn admin(&self) -> AdminServiceClient<Keyed> {
        self.admin_with(Some(ADMIN_KEY)).await
    }
}

/// A call of `before_tool_call`.
pub(crate) fn before_tool_call(tool: &str, params: &str) -> Call {
    let event = format!(r#"{{"toolName":"{tool}","params":{params}}}"#);
    let asked = Box::new(runtime::HookInvocation {
        tool_name: tool.to_owned(),
        tool_call_id: "1".to_owned(),
        event_json: Bytes::from(event),
        report_handlers: true,
        ..Default::default()
    });
    let params = Call::find_params(&asked.event_json);
    Call::checked("default".into(), Hook::BeforeToolCall, asked, params)
}
