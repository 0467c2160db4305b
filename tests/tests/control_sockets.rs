//! The control sockets: a key on every call, and nobody from a plugin's tree, whatever key it has. And the socket of a
//! launch, where the connection that carries the Session is the plugin, and no other.

use std::time::Duration;

use outrigger::transport::client::{KeyInterceptor, connect};
use outrigger::transport::paths;
use outrigger_fixtures::faults::Phase;
use outrigger_proto::admin::v1::admin_service_client::AdminServiceClient;
use outrigger_proto::admin::v1::{AddRuntimeKeyRequest, ListPluginsRequest, RemoveRuntimeKeyRequest};
use outrigger_proto::runtime::v1::runtime_service_client::RuntimeServiceClient;
use outrigger_proto::runtime::v1::{AttachRequest, InvokeHookRequest};
use outrigger_proto::types::v1::ProtocolRange;
use outrigger_tests::hooks::tool_call;
use outrigger_tests::{Package, Setup, World, within};
use serde_json::json;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const LIMIT: Duration = Duration::from_secs(60);

async fn channel(world: &World, admin: bool) -> Channel {
    let dir = world.runtime_dir();
    let socket = if admin { paths::admin_socket(&dir) } else { paths::runtime_socket(&dir) };
    connect(&socket).await.expect("connect")
}

fn key(world: &World, admin: bool) -> KeyInterceptor {
    let state = world.state_dir();
    let file = if admin { paths::admin_key(&state) } else { state.join("keys/default.key") };
    KeyInterceptor::from_file(&file).expect("read the key")
}

async fn keyed(world: &World, admin: bool) -> InterceptedService<Channel, KeyInterceptor> {
    InterceptedService::new(channel(world, admin).await, key(world, admin))
}

fn list_services() -> ServerReflectionRequest {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    ServerReflectionRequest { host: String::new(), message_request }
}

#[tokio::test]
async fn reflection_lists_the_services_with_the_key_and_nothing_without() {
    within(LIMIT, async {
        let world = Setup::new().await.start().await;
        for (admin, service) in
            [(false, "outrigger.runtime.v1.RuntimeService"), (true, "outrigger.admin.v1.AdminService")]
        {
            let requests = || tokio_stream::iter([list_services()]);
            let mut client = ServerReflectionClient::new(keyed(&world, admin).await);
            let mut answers = client.server_reflection_info(requests()).await.expect("it is served").into_inner();
            let answer = answers.message().await.expect("it answers").expect("once");
            let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
                unreachable!("it does not list: {answer:?}");
            };
            let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
            assert!(names.iter().any(|name| name == service), "{names:?}");

            let mut client = ServerReflectionClient::new(channel(&world, admin).await);
            let status = client.server_reflection_info(requests()).await.expect_err("it is refused without the key");
            assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        }
    })
    .await;
}

#[tokio::test]
async fn health_is_told_with_the_key_and_not_without() {
    within(LIMIT, async {
        let world = Setup::new().await.start().await;
        for (admin, service) in
            [(false, "outrigger.runtime.v1.RuntimeService"), (true, "outrigger.admin.v1.AdminService")]
        {
            for service in ["", service] {
                let request = || HealthCheckRequest { service: service.to_owned() };
                let mut client = HealthClient::new(keyed(&world, admin).await);
                let answer = client.check(request()).await.expect("it is served").into_inner();
                assert_eq!(answer.status(), ServingStatus::Serving, "`{service}`");
                let mut client = HealthClient::new(channel(&world, admin).await);
                let status = client.check(request()).await.expect_err("it is refused without the key");
                assert_eq!(status.code(), Code::Unauthenticated, "{status}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_so_is_the_other_sockets() {
    within(LIMIT, async {
        let world = Setup::new().await.start().await;
        let wrong = |key: &str| {
            let key: tonic::metadata::MetadataValue<_> = key.parse().expect("it is a metadata value");
            move |mut request: tonic::Request<()>| {
                request.metadata_mut().insert("outrigger-key", key.clone());
                Ok(request)
            }
        };
        let read = |name: &str| std::fs::read_to_string(world.state_dir().join(name)).expect("read a key");
        let (admin_key, runtime_key) = (read("admin.key"), read("keys/default.key"));
        let flipped = |key: &str| {
            let mut key = key.trim().to_owned();
            let last = key.pop().expect("a key is not empty");
            key.push(if last == '0' { '1' } else { '0' });
            key
        };
        for key in [runtime_key.trim().to_owned(), flipped(&admin_key), "admin:".to_owned(), "x".to_owned()] {
            let mut client = AdminServiceClient::with_interceptor(channel(&world, true).await, wrong(&key));
            let status = client.list_plugins(ListPluginsRequest::default()).await.expect_err("it is refused");
            assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        }
        for key in [admin_key.trim().to_owned(), flipped(&runtime_key), "default:".to_owned(), "x".to_owned()] {
            let mut client = RuntimeServiceClient::with_interceptor(channel(&world, false).await, wrong(&key));
            let request = InvokeHookRequest { invocation: Some(tool_call("any", &json!({}))) };
            let status = client.invoke_hook(request).await.expect_err("it is refused");
            assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_removed_key_ends_its_streams_and_is_good_for_nothing_more() {
    within(LIMIT, async {
        let world = Setup::new().await.start().await;
        let request = AddRuntimeKeyRequest { runtime_id: "second".to_owned(), group: String::new() };
        let added = world.admin().add_runtime_key(request).await.expect("add a key").into_inner();
        let path = added.key.expect("the answer has the key").path;
        let interceptor = KeyInterceptor::from_file(std::path::Path::new(&path)).expect("read the new key");
        let mut runtime = RuntimeServiceClient::with_interceptor(channel(&world, false).await, interceptor);
        let attach = || AttachRequest {
            incarnation: 7,
            protocol: Some(ProtocolRange { min: 1, max: 1 }),
            ..AttachRequest::default()
        };
        let mut directives = runtime.attach(attach()).await.expect("attach with the new key").into_inner();
        directives.message().await.expect("be attached").expect("the stream goes on");
        let request = RemoveRuntimeKeyRequest { runtime_id: "second".to_owned() };
        let removed = world.admin().remove_runtime_key(request).await.expect("remove the key").into_inner();
        assert!(removed.removed && removed.was_attached, "{removed:?}");
        // The stream ends, whatever was on its way.
        while let Ok(Some(_)) = directives.message().await {}
        let status = runtime.attach(attach()).await.expect_err("the key is no more");
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    })
    .await;
}

/// A detached grandchild is refused before its first byte is read: it gets no status, only the end of its connection,
/// with the right key as without.
#[tokio::test]
async fn a_plugins_detached_grandchild_is_refused_before_it_is_parsed() {
    within(LIMIT, async {
        let setup = Setup::new().await;
        let mut plugins = Vec::new();
        for (fault, socket) in [("dial-runtime-detached", "runtime.sock"), ("dial-admin-detached", "admin.sock")] {
            let socket = format!("socket={}", setup.runtime_dir().join(socket).display());
            let state = format!("state={}", setup.state_dir().display());
            plugins.push(Package::misbehaving(fault, fault, Phase::Idle).arguments(&[&socket, &state]));
        }
        let world = plugins.into_iter().fold(setup, Setup::plugin).start().await;
        for id in ["dial-runtime-detached", "dial-admin-detached"] {
            for key in ["without key: ", "with key: "] {
                let told = world.told(id, key).await;
                let answer = told.split(key).nth(1).expect("the text is in it");
                // A status of ours would be a call that was looked at; the state directory is readable where no
                // sandbox of files is.
                let looked_at = ["answered", "Unauthenticated", "PermissionDenied", "FailedPrecondition"];
                assert!(looked_at.iter().all(|word| !answer.contains(word)), "{told}");
            }
        }
        assert!(world.log_tail().contains("refused"), "the operator is told:\n{}", world.log_tail());
    })
    .await;
}

/// Q10, the connections: a second Session, a used token and a call without the session's secret are refused, each with a
/// status of its own, while the Session goes on.
#[tokio::test]
async fn q10_only_the_sessions_own_connection_is_the_plugin() {
    within(LIMIT, async {
        let faults = [
            ("reused-token", "reused token: status FailedPrecondition"),
            ("second-session", "second session: status FailedPrecondition"),
            ("second-connection", "without secret: status Unauthenticated"),
            ("early-host-call", "early host call: status Unauthenticated"),
        ];
        let setup = Setup::new().await;
        let world = faults.iter().fold(setup, |setup, (fault, _)| {
            let when = if *fault == "early-host-call" { Phase::Starting } else { Phase::Idle };
            setup.plugin(Package::misbehaving(fault, fault, when))
        });
        let world = world.start().await;
        for (fault, words) in faults {
            world.ready(fault).await;
            let told = world.told(fault, words.split(':').next().expect("it has a colon")).await;
            assert!(told.contains(words), "{fault}: {told}");
            assert!(world.call(fault, &json!({})).await.goes_on(), "{fault}");
            assert_eq!(world.status(fault).await.generation, 1, "{fault}");
        }
    })
    .await;
}
