//! The real launcher: a private directory with its socket, a keeper with its child, and the peers between them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::domain::ids::PluginId;
use crate::domain::launch::{
    BoxFuture, Connect, Emptied, Enforced, Evidence, ExitRecord, LaunchError, Launched, Launcher, Plan, Protection,
    Tree, Usage,
};
use crate::process::{Groups, KeptTree, Starter};
use crate::transport::launch_listener::{ListenerGuard, listen};
use crate::transport::meter::Bucket;
use crate::transport::private_dir::PrivateDir;

/// Starts real processes over real sockets.
pub(crate) struct HostLauncher {
    runtime_dir: PathBuf,
    starter: Arc<Starter>,
    bytes_per_second: u64,
    /// What each plugin may send, over all its launches.
    buckets: Mutex<BTreeMap<PluginId, Arc<Bucket>>>,
}

impl HostLauncher {
    pub(crate) fn new(runtime_dir: PathBuf, bytes_per_second: u64, groups: Groups) -> Self {
        let starter = Arc::new(Starter::new().with_groups(groups));
        Self { runtime_dir, starter, bytes_per_second, buckets: Mutex::new(BTreeMap::new()) }
    }

    /// Waits until no process of any launch is left.
    pub(crate) async fn finished(&self) {
        self.starter.finished().await;
    }

    fn bucket(&self, plugin: &PluginId) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(buckets.entry(plugin.clone()).or_insert_with(|| Bucket::new(self.bytes_per_second)))
    }
}

impl Launcher for HostLauncher {
    fn launch(&self, plan: Plan) -> BoxFuture<Result<Launched, LaunchError>> {
        let (runtime_dir, starter, bucket) =
            (self.runtime_dir.clone(), Arc::clone(&self.starter), self.bucket(&plan.plugin));
        Box::pin(async move {
            let directory = PrivateDir::create(&runtime_dir, &plan.plugin, plan.generation, &plan.nonce)?;
            if plan.connect == Connect::Absolute && directory.absolute_path_too_long() {
                let source = std::io::Error::other(
                    "the path is too long for a socket's address; use connect = \"relative\" or a shorter runtime directory",
                );
                return Err(LaunchError::Directory { path: directory.socket_path(), source });
            }
            let started = starter.start(&plan, directory.path(), &directory.socket_path()).await?;
            let (connections, guard) = match listen(directory, started.tree.keeper_pid(), bucket) {
                Ok((connections, guard)) => (connections, Some(guard)),
                // The program ran and has ended already, its keeper after it: how, the exit record tells.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => (mpsc::channel(1).1, None),
                Err(error) => return Err(LaunchError::Keeper(error)),
            };
            let tree = Arc::new(Held { tree: started.tree, _guard: guard });
            Ok(Launched { tree, connections, stdout: Box::new(started.stdout), stderr: Box::new(started.stderr) })
        })
    }
}

/// A tree and its socket, which go together. A tree that ended before there was a listener has none.
struct Held {
    tree: Arc<KeptTree>,
    _guard: Option<ListenerGuard>,
}

impl Tree for Held {
    fn pid(&self) -> u32 {
        self.tree.pid()
    }

    fn keeper_pid(&self) -> u32 {
        self.tree.keeper_pid()
    }

    fn terminate(&self) {
        self.tree.terminate();
    }

    fn kill(&self) {
        self.tree.kill();
    }

    fn exit(&self) -> tokio::sync::watch::Receiver<Option<ExitRecord>> {
        self.tree.exit()
    }

    fn emptied(&self) -> tokio::sync::watch::Receiver<Option<Emptied>> {
        self.tree.emptied()
    }

    fn usage(&self) -> std::io::Result<Usage> {
        self.tree.usage()
    }

    fn evidence(&self) -> Evidence {
        self.tree.evidence()
    }

    fn protections(&self) -> Vec<Protection> {
        self.tree.protections()
    }

    fn enforced(&self) -> Enforced {
        self.tree.enforced()
    }

    fn keeps_memory(&self) -> bool {
        self.tree.keeps_memory()
    }
}
