use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use hyper_util::rt::TokioExecutor;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;

use super::*;
use crate::transport::control_listener::{ControlListener, Stale};
use crate::transport::keys::Keys;
use crate::transport::paths::{admin_key, runtime_socket};
use crate::transport::testing::{directory, limited};

/// Serves health checks to whoever carries the operator's key.
fn serve(mut listener: ControlListener, keys: Keys) -> tokio::task::JoinHandle<()> {
    let (_reporter, service) = tonic_health::server::health_reporter();
    let keys = Arc::new(keys);
    let check = move |request: Request<()>| {
        let key = request.metadata().get(KEY_METADATA);
        let good = key.is_some_and(|key| keys.is_admin(key.as_bytes()));
        if good { Ok(request) } else { Err(Status::unauthenticated("no key")) }
    };
    let service = InterceptedService::new(service, check);
    tokio::spawn(async move {
        loop {
            let (stream, _peer) = listener.accept().await;
            let service = service.clone();
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                service.clone().oneshot(request.map(tonic::body::Body::new))
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    })
}

#[tokio::test]
async fn a_call_carries_the_key_over_a_path_of_any_length() {
    limited(async {
        let base = directory();
        for runtime in [base.path().join("run"), base.path().join("d".repeat(120)).join("run")] {
            let state = runtime.join("state");
            let keys = Keys::open(&state).expect("keys can be made");
            let path = runtime_socket(&runtime);
            let server = serve(ControlListener::bind(&path, None, Stale::Probe).expect("it can listen"), keys);

            let channel = connect(&path).await.expect("it can be dialled");
            let key = KeyInterceptor::from_file(&admin_key(&state)).expect("the key can be read");
            let mut client = HealthClient::with_interceptor(channel.clone(), key.clone());
            client.check(HealthCheckRequest::default()).await.expect("it answers");
            let refused = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
            assert_eq!(refused.expect_err("without a key").code(), Code::Unauthenticated);
            let secret = std::fs::read_to_string(admin_key(&state)).expect("it can be read");
            assert!(!format!("{key:?}").contains(secret.trim()), "a key is never printed");
            server.abort();
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_says_what_to_look_at() {
    limited(async {
        let base = directory();
        let path = base.path().join("runtime.sock");
        let shown = path.display().to_string();
        let error = connect(&path).await.expect_err("there is none");
        assert!(matches!(error, ConnectError::Missing(_)));
        assert!(
            error.to_string().contains(&shown) && error.to_string().contains("is the supervisor running?"),
            "{error}"
        );
        assert!(matches!(connect(&base.path().join("no/such.sock")).await, Err(ConnectError::Missing(_))));

        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket can be bound"));
        let error = connect(&path).await.expect_err("nobody listens");
        assert!(matches!(error, ConnectError::Refused(_)), "{error}");

        if !rustix::process::geteuid().is_root() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("it is ours");
            let error = connect(&path).await.expect_err("it is closed");
            assert!(matches!(error, ConnectError::Denied(_)), "{error}");
        }
        let error = KeyInterceptor::from_file(&base.path().join("admin.key")).expect_err("there is none");
        assert!(matches!(error, KeyError::Missing(_)), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_channel_dials_again() {
    limited(async {
        let base = directory();
        let path = runtime_socket(base.path());
        let state = base.path().join("state");
        let key = || KeyInterceptor::from_file(&admin_key(&state)).expect("the key can be read");
        let open = || Keys::open(&state).expect("keys can be made");
        let server = serve(ControlListener::bind(&path, None, Stale::Probe).expect("it can listen"), open());
        let channel = connect(&path).await.expect("it can be dialled");
        let mut client = HealthClient::with_interceptor(channel, key());
        client.check(HealthCheckRequest::default()).await.expect("it answers");
        server.abort();
        assert!(server.await.is_err_and(|error| error.is_cancelled()));
        let _server = serve(ControlListener::bind(&path, None, Stale::Replace).expect("it can listen"), open());
        // Connections of the first server are tasks of their own and may live on; either way the call is answered.
        client.check(HealthCheckRequest::default()).await.expect("it answers");
    })
    .await;
}
