//! The smallest agent runtime: asks the plugins before a tool runs.

use outrigger::transport::client::{KeyInterceptor, connect};
use outrigger::transport::paths::{Env, runtime_dir, runtime_key, runtime_socket, state_dir};
use outrigger_proto::runtime::v1::runtime_service_client::RuntimeServiceClient;
use outrigger_proto::runtime::v1::{AttachRequest, HookInvocation, HookVerdict, InvokeHookRequest};
use outrigger_proto::types::v1::{Hook, ProtocolRange};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let env = Env::current();
    let channel = connect(&runtime_socket(&runtime_dir(&env)?)).await?;
    let key = KeyInterceptor::from_file(&runtime_key(&state_dir(&env)?, &"default".parse()?))?;
    let mut outrigger = RuntimeServiceClient::with_interceptor(channel, key);
    let protocol = Some(ProtocolRange { min: 1, max: 1 });
    let attach = AttachRequest { incarnation: u64::from(std::process::id()), protocol, ..Default::default() };
    // Says which hooks plugins want, and stays open: while it is, the runtime is attached.
    let _directives = outrigger.attach(attach).await?.into_inner();
    let invocation = HookInvocation {
        hook: Hook::BeforeToolCall as i32,
        tool_name: "exec".into(),
        tool_call_id: "call-1".into(),
        event_json: r#"{"toolName":"exec","params":{"command":"sudo reboot"}}"#.into(),
        ..Default::default()
    };
    let request = InvokeHookRequest { invocation: Some(invocation) };
    let outcome = outrigger.invoke_hook(request).await?.into_inner().outcome.unwrap_or_default();
    match outcome.verdict() {
        HookVerdict::GoOn => println!("run it"),
        // Whatever else it says is a no.
        _ => println!("do not run it: {}", outcome.reason),
    }
    Ok(())
}
