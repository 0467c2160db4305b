//! The operator of a supervisor in the same process: starts, stops and reloads its plugins.

use std::path::Path;
use std::time::Duration;

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::admin::v1::admin_service_client::AdminServiceClient;
use rustix::process::Pid;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use super::super::{Failure, Result};

/// A plugin that takes longer to start or to stop makes the benchmark fail.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct Operator {
    admin: AdminServiceClient<Channel>,
    key: MetadataValue<Ascii>,
    /// Ids of all plugins.
    pub(super) plugins: Vec<String>,
}

impl Operator {
    /// With the key in this directory.
    pub(super) async fn connect(socket: &Path, state_dir: &Path) -> Result<Self> {
        let channel = super::stream::channel(UnixStream::connect(socket).await?).await?;
        let key = std::fs::read_to_string(state_dir.join("admin.key"))?.trim_end().parse()?;
        let mut operator = Self { admin: AdminServiceClient::new(channel), key, plugins: Vec::new() };
        let request = operator.request(admin::ListPluginsRequest::default());
        let listed = operator.admin.list_plugins(request).await?.into_inner();
        operator.plugins = listed.plugins.into_iter().map(|plugin| plugin.plugin_id).collect();
        Ok(operator)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("outrigger-key", self.key.clone());
        request
    }

    /// The first plugin.
    pub(super) fn first(&self) -> Result<&str> {
        Ok(self.plugins.first().ok_or("no plugin is configured")?)
    }

    /// Starts a plugin, until it is ready.
    pub(super) async fn start(&self, plugin: &str) -> Result<()> {
        let request = admin::StartPluginRequest { plugin_id: plugin.to_owned(), reset: true };
        self.admin.clone().start_plugin(self.request(request)).await?;
        Ok(())
    }

    /// Stops a plugin: in order, or by a kill at once.
    pub(super) async fn stop(&self, plugin: &str, kill: bool) -> Result<()> {
        let plugin_id = plugin.to_owned();
        let request = admin::StopPluginRequest { plugin_id, kill, confirm_unguarded: true, ..Default::default() };
        self.admin.clone().stop_plugin(self.request(request)).await?;
        Ok(())
    }

    /// Replaces a plugin's generation, until the new one serves.
    pub(super) async fn reload(&self, plugin: &str) -> Result<()> {
        let request = admin::ReloadPluginRequest { plugin_id: plugin.to_owned(), drain_timeout: None };
        self.admin.clone().reload_plugin(self.request(request)).await?;
        Ok(())
    }

    /// A plugin's process.
    pub(super) async fn pid(&self, plugin: &str) -> Result<Pid> {
        let request = admin::GetPluginRequest { plugin_id: plugin.to_owned() };
        let plugin = self.admin.clone().get_plugin(self.request(request)).await?.into_inner();
        let pid = plugin.status.ok_or("a plugin without a status")?.pid;
        Ok(i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("the plugin has no process")?)
    }

    /// Stops, or starts, all plugins side by side.
    pub(super) async fn all(&self, start: bool) -> Result<()> {
        let each = self.plugins.iter().map(async |plugin| {
            let done = async { if start { self.start(plugin).await } else { self.stop(plugin, false).await } };
            timeout(PATIENCE, done).await.map_err(|_| Failure::from(format!("`{plugin}` takes too long")))?
        });
        futures_util::future::try_join_all(each).await?;
        Ok(())
    }
}
