//! What is printed beside the bare stream: a unary call each time, and a socket without any protocol.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1 as types;
use runtime::runtime_service_client::RuntimeServiceClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tonic::transport::Channel;

use super::super::Result;
use super::super::host::{Orders, window};
use super::super::measure::Call;
use super::stream::channel;

/// The hook call of the benchmarks, as a runtime makes it.
pub(super) fn invocation(event_json: Bytes) -> runtime::HookInvocation {
    runtime::HookInvocation {
        hook: types::Hook::BeforeToolCall as i32,
        event_json,
        session: Some(types::SessionRef { key: "bench".to_owned(), ..Default::default() }),
        run: Some(types::RunRef { id: "run-1".to_owned(), ..Default::default() }),
        tool_name: "exec".to_owned(),
        tool_call_id: "call-1".to_owned(),
        ..Default::default()
    }
}

#[derive(Clone)]
struct Unary(RuntimeServiceClient<Channel>);

impl Call for Unary {
    async fn call(&self) -> Result<()> {
        let request = runtime::InvokeHookRequest { invocation: Some(invocation(super::event(super::EVENT_BYTES))) };
        self.0.clone().invoke_hook(request).await?;
        Ok(())
    }
}

pub(super) async fn host(directory: &Path) -> Result<()> {
    let (_child, connection) = super::peer("unary", directory).await?;
    let unary = Unary(RuntimeServiceClient::new(channel(connection).await?));
    Orders::open()?.serve(async |order| window(order, &unary).await).await
}

#[derive(Clone)]
struct Raw(Arc<tokio::sync::Mutex<UnixStream>>);

impl Call for Raw {
    async fn call(&self) -> Result<()> {
        // One call at a time is all that this can measure.
        let mut socket = self.0.lock().await;
        let mut bytes = [7; super::EVENT_BYTES];
        socket.write_all(&bytes).await?;
        socket.read_exact(&mut bytes).await?;
        Ok(())
    }
}

pub(super) async fn host_raw(directory: &Path) -> Result<()> {
    let (_child, connection) = super::peer("raw", directory).await?;
    let raw = Raw(Arc::new(tokio::sync::Mutex::new(connection)));
    Orders::open()?.serve(async |order| window(order, &raw).await).await
}
