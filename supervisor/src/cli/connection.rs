//! The way to a supervisor: its sockets, and the key that every call carries. What fails is told with what to do.
//!
//! This is the one place of the command line that knows sockets and files of keys.

use std::path::{Path, PathBuf};

use outrigger_proto::admin::v1::admin_service_client::AdminServiceClient;
use outrigger_proto::runtime::v1::runtime_service_client::RuntimeServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::args::Global;
use super::exit::Exit;
use super::failure::Failure;
use crate::domain::ids::RuntimeId;
use crate::transport::client::{ConnectError, KeyInterceptor, connect};
use crate::transport::keys::KeyError;
use crate::transport::paths::{self, Env, PathError};

/// Longest answer the commands take: ten failures with all their evidence are below it.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A client of the admin service.
pub(crate) type Admin = AdminServiceClient<InterceptedService<Channel, KeyInterceptor>>;
/// A client of the runtime service.
pub(crate) type Runtime = RuntimeServiceClient<InterceptedService<Channel, KeyInterceptor>>;

/// Connects to the admin socket.
pub(crate) async fn admin(global: &Global) -> Result<Admin, Failure> {
    let (runtime_dir, state_dir) = places(global)?;
    let (channel, key) = dial(&paths::admin_socket(&runtime_dir), &paths::admin_key(&state_dir), global).await?;
    Ok(AdminServiceClient::with_interceptor(channel, key).max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// Connects to the runtime socket as this runtime.
pub(crate) async fn runtime(global: &Global, runtime: &RuntimeId) -> Result<Runtime, Failure> {
    let (runtime_dir, state_dir) = places(global)?;
    let key = paths::runtime_key(&state_dir, runtime);
    let (channel, key) = dial(&paths::runtime_socket(&runtime_dir), &key, global).await?;
    Ok(RuntimeServiceClient::with_interceptor(channel, key).max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// The configuration file that `run` reads where none is named.
pub(crate) fn default_config_path() -> Result<PathBuf, Failure> {
    paths::config_file(&Env::current(), None).map_err(nowhere)
}

/// Directories of the sockets and of the keys.
fn places(global: &Global) -> Result<(PathBuf, PathBuf), Failure> {
    let env = Env::current();
    let runtime_dir = global.runtime_dir.clone().map_or_else(|| paths::runtime_dir(&env), Ok).map_err(nowhere)?;
    let state_dir = global.state_dir.clone().map_or_else(|| paths::state_dir(&env), Ok).map_err(nowhere)?;
    Ok((runtime_dir, state_dir))
}

fn nowhere(error: PathError) -> Failure {
    Failure::new(Exit::Usage, format!("failed to {error}"))
}

/// Socket first: where no supervisor runs, that is what to say, whatever the keys are.
async fn dial(socket: &Path, key: &Path, global: &Global) -> Result<(Channel, KeyInterceptor), Failure> {
    let channel = tokio::time::timeout(global.timeout(), connect(socket)).await.map_err(|_| {
        Failure::new(Exit::TimedOut, format!("{} did not answer in time", socket.display()))
            .remedy("the supervisor is busy or frozen; give it longer with --timeout")
    })?;
    Ok((channel.map_err(unreachable)?, KeyInterceptor::from_file(key).map_err(locked)?))
}

fn unreachable(error: ConnectError) -> Failure {
    let message = format!("failed to {error}");
    match error {
        ConnectError::Missing(_) => Failure::new(Exit::NoSupervisor, message)
            .remedy("start one with `outrigger run`, or name the directory of its sockets with --runtime-dir"),
        ConnectError::Refused(_) => {
            Failure::new(Exit::NoSupervisor, message).remedy("start another one with `outrigger run`")
        }
        ConnectError::Denied(_) => Failure::new(Exit::Key, message).remedy("run this as the supervisor's user"),
        ConnectError::Busy(_) => Failure::new(Exit::NoSupervisor, message).remedy("try again in a moment"),
        ConnectError::Protocol { .. } => Failure::new(Exit::NoSupervisor, message)
            .remedy("the supervisor refuses processes of its plugins and other users; run this outside of them"),
        ConnectError::Io { .. } => Failure::new(Exit::NoSupervisor, message),
    }
}

fn locked(error: KeyError) -> Failure {
    let message = format!("failed to {error}");
    let failure = Failure::new(Exit::Key, message);
    match error {
        KeyError::Exposed { path, .. } => {
            failure.remedy(format!("remove {} and start the supervisor again: it makes a new one", path.display()))
        }
        _ => failure.remedy("name the supervisor's state directory with --state-dir, and run this as its user"),
    }
}
