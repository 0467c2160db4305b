//! Calls the control sockets, which are not for plugins: without a key, and with one if it can be read.

use std::fs;
use std::path::Path;

use outrigger_proto::admin::v1::ListPluginsRequest;
use outrigger_proto::admin::v1::admin_service_client::AdminServiceClient;
use outrigger_proto::runtime::v1::ListToolsRequest;
use outrigger_proto::runtime::v1::runtime_service_client::RuntimeServiceClient;
use tonic::{Request, Status};

use crate::arguments::Arguments;
use crate::link::{Link, describe};
use crate::report::report;

/// Dials the socket that the options name, in the way the fault's name says.
pub(crate) async fn dial(arguments: &Arguments) {
    let option = |key| arguments.options.get(key).map_or("", String::as_str);
    let admin = arguments.fault.is_some_and(|fault| fault.name.starts_with("dial-admin"));
    let (name, key_file) = if admin { ("admin", "admin.key") } else { ("runtime", "keys/default.key") };
    let socket = Path::new(option("socket"));
    report!("dial {name} without key: {}", call(socket, admin, None).await);
    let path = Path::new(option("state")).join(key_file);
    match fs::read_to_string(&path) {
        Ok(key) => report!("dial {name} with key: {}", call(socket, admin, Some(key.trim())).await),
        Err(error) => report!("dial {name} with key: read {}: {error}", path.display()),
    }
}

/// Makes one call on a connection of its own; what came of it.
async fn call(socket: &Path, admin: bool, key: Option<&str>) -> String {
    let link = match Link::open(socket).await {
        Ok(link) => link,
        Err(error) => return format!("connect: {error}"),
    };
    let called = if admin {
        let request = with_key(ListPluginsRequest::default(), key);
        AdminServiceClient::new(link.channel()).list_plugins(request).await.map(drop)
    } else {
        let request = with_key(ListToolsRequest::default(), key);
        RuntimeServiceClient::new(link.channel()).list_tools(request).await.map(drop)
    };
    called.map_or_else(|status: Status| describe(&status), |()| "answered".to_owned())
}

fn with_key<T>(message: T, key: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    // A key that is no metadata value is sent as none: it is not one of ours.
    if let Some(value) = key.and_then(|key| key.parse().ok()) {
        request.metadata_mut().insert("outrigger-key", value);
    }
    request
}
