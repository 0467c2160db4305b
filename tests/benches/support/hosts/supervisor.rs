//! The supervisor: the library's own, in a process with one thread, as `outrigger run` has it. Calls and events come from
//! within (one hop), or over its socket from another host (two).

use std::path::Path;

use outrigger::bench::{Caller, Event};
use outrigger::{Options, Supervisor};
use serde_json::Value;

use super::super::Result;
use super::super::host::{Orders, length, window};
use super::super::machine::anonymous_bytes;
use super::super::measure::{Call, Numbers, cpu_time, latency, numbers};
use super::super::supervised::Files;
use super::lives::Lives;
use super::marks;
use super::operator::Operator;
use super::spread::Spread;

#[derive(Clone)]
struct OneHop {
    caller: Caller,
    tool: String,
    event: Event,
}

impl OneHop {
    /// As an order wants it.
    fn new(caller: &Caller, order: &Value) -> Result<Self> {
        let tool = order["tool"].as_str().unwrap_or("exec").to_owned();
        Ok(Self { caller: caller.clone(), tool, event: Event::check(super::event_of(order)?) })
    }
}

impl Call for OneHop {
    async fn call(&self) -> Result<()> {
        go_on(self.caller.before_tool_call(&self.tool, &self.event).await)
    }
}

/// What came of a call, where it must pass.
pub(super) fn go_on(passed: bool) -> Result<()> {
    if passed { Ok(()) } else { Err("the guard is absent or denied the call".into()) }
}

pub(super) async fn host(directory: &Path) -> Result<()> {
    // As `outrigger run` does.
    outrigger::process::share_heaps();
    let marks = marks::install();
    let Files { config, runtime_dir, state_dir, books } = Files::of(directory);
    let supervisor = Supervisor::start(Options { config, runtime_dir, state_dir: state_dir.clone(), subreaper: true });
    let supervisor = supervisor.await?;
    let operator = Operator::connect(supervisor.admin_socket(), &state_dir).await?;
    for plugin in &operator.plugins {
        operator.start(plugin).await?;
    }
    let mut spread = Spread::begin(supervisor.publisher(), &books).await?;
    let caller = supervisor.caller();
    let mut lives = Lives { caller: caller.clone(), operator, marks };
    Orders::open()?
        .serve(async |order| match order["do"].as_str() {
            Some("cpu") => Ok(numbers([("cpu", cpu_time().as_nanos() as f64)])),
            Some("memory") => Ok(numbers([("bytes", anonymous_bytes("self")? as f64)])),
            Some("latency" | "rate") => window(order, &OneHop::new(&caller, order)?).await,
            Some("latency among events") => {
                let one_hop = OneHop::new(&caller, order)?;
                spread.among(latency(&one_hop, length(order)?)).await
            }
            Some("asked") => asked(OneHop::new(&caller, order)?).await,
            Some("spread") => spread.window(order).await,
            Some("book") => spread.book(order).await,
            _ => lives.carry_out(order).await,
        })
        .await?;
    supervisor.stop().await;
    Ok(())
}

/// How many handlers such a call has.
async fn asked(call: OneHop) -> Result<Numbers> {
    Ok(numbers([("asked", call.caller.asked(&call.tool, &call.event).await as f64)]))
}
