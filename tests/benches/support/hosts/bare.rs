//! The bare stream: a message over one tonic stream to another process and an answer back, and nothing else: no routing,
//! no deadline, no bounds, no counting. The answer is the very message, or a short one; there may be a relay between, and
//! several streams at once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::try_join_all;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::types::v1 as types;
use tokio::process::Child;
use tokio::sync::oneshot;

use super::super::groups::GUARDS;
use super::super::host::{Orders, window};
use super::super::measure::Call;
use super::super::{Failure, Result};
use super::stream::{self, Outbound};

#[derive(Clone)]
struct Bare {
    out: Outbound<wire::SessionResponse>,
    open: Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>,
    next: Arc<AtomicU64>,
    invocation: wire::Invocation,
}

impl Call for Bare {
    async fn call(&self) -> Result<()> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (reply, answer) = oneshot::channel();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, reply);
        let invocation = wire::Invocation { invocation_id: id, ..self.invocation.clone() };
        let frame = wire::SessionResponse { invocations: vec![invocation], ..Default::default() };
        self.out.send(Ok(frame)).await.map_err(|_| "the stream has ended")?;
        Ok(answer.await?)
    }
}

/// What the supervisor sends for one call, to the byte.
fn invocation(event_json: Bytes) -> wire::Invocation {
    let handle = || "0123456789abcdef0123456789abcdef".to_owned();
    wire::Invocation {
        handler_id: "guard".to_owned(),
        timeout: Some(prost_types::Duration { seconds: 4, nanos: 999_999_000 }),
        session: Some(types::SessionRef {
            handle: handle(),
            key: "bench".to_owned(),
            runtime_id: "default".to_owned(),
            ..Default::default()
        }),
        run: Some(types::RunRef { handle: handle(), id: "run-1".to_owned() }),
        call: Some(wire::invocation::Call::Hook(wire::HookCall {
            hook: types::Hook::BeforeToolCall as i32,
            event_json,
            tool_name: "exec".to_owned(),
            tool_call_id: "call-1".to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// The message itself comes back: the comparator of the budgets. `role` is `bare`, or `relay` for one with a third process
/// between the two.
pub(super) async fn host(role: &str, directory: &Path) -> Result<()> {
    measured(role, directory, id).await
}

fn id(message: &wire::SessionResponse) -> Option<u64> {
    message.invocations.first().map(|call| call.invocation_id)
}

/// A short answer comes back, as a guard's is.
pub(super) async fn host_short(directory: &Path) -> Result<()> {
    let ids = |message: &wire::SessionRequest| message.results.first().map(|result| result.invocation_id);
    measured("short", directory, ids).await
}

/// `id` finds the caller that an answer is for.
async fn measured<A>(role: &str, directory: &Path, id: impl Fn(&A) -> Option<u64> + Send + 'static) -> Result<()>
where
    A: prost::Message + Default + 'static,
{
    let (bare, _child) = open(role, directory, id).await?;
    Orders::open()?
        .serve(async |order| {
            let invocation = invocation(super::event_of(order)?);
            window(order, &Bare { invocation, ..bare.clone() }).await
        })
        .await
}

async fn open<A>(role: &str, directory: &Path, id: impl Fn(&A) -> Option<u64> + Send + 'static) -> Result<(Bare, Child)>
where
    A: prost::Message + Default + 'static,
{
    let (child, connection) = super::peer(role, directory).await?;
    let (out, mut inbound) = stream::serve::<wire::SessionResponse, A>(connection).await?;
    let invocation = invocation(super::event(super::EVENT_BYTES));
    let bare = Bare { out, open: Arc::default(), next: Arc::default(), invocation };
    let open = Arc::clone(&bare.open);
    tokio::spawn(async move {
        while let Some(message) = inbound.message().await? {
            let id = id(&message).ok_or("an answer without an id")?;
            if let Some(reply) = open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
                let _ = reply.send(());
            }
        }
        Ok::<_, Failure>(())
    });
    Ok((bare, child))
}

/// Several streams, each to a process of its own.
#[derive(Clone)]
struct Beside(Vec<Bare>);

impl Call for Beside {
    /// Writes to all of them, and waits for all.
    async fn call(&self) -> Result<()> {
        try_join_all(self.0.iter().map(Call::call)).await?;
        Ok(())
    }
}

/// As many bare streams as there are guards side by side: the message itself comes back from each.
pub(super) async fn host_beside(directory: &Path) -> Result<()> {
    let (mut streams, mut children) = (Vec::new(), Vec::new());
    for _ in 0..GUARDS {
        let (bare, child) = open("bare", directory, id).await?;
        streams.push(bare);
        children.push(child);
    }
    let beside = Beside(streams);
    Orders::open()?.serve(async |order| window(order, &beside).await).await
}
