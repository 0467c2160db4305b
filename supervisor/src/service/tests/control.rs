//! The control sockets: a key on every call, each socket its own service.

use outrigger_proto::admin::v1 as admin;
use outrigger_proto::runtime::v1 as runtime;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::service::testing::{ADMIN_KEY, RUNTIME_KEY, World, within};

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn every_call_needs_the_key_of_its_socket() {
    within(async {
        let world = World::with(vec![]).await;
        for key in [None, Some("wrong"), Some(""), Some(RUNTIME_KEY)] {
            let status =
                world.admin_with(key).await.get_supervisor(admin::GetSupervisorRequest {}).await.expect_err("no key");
            assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "KEY_INVALID"), "{key:?}");
            assert!(status.get_error_details().help().is_some());
        }
        for key in [None, Some("wrong"), Some(ADMIN_KEY), Some("other:secret")] {
            let request = runtime::RedeemDecisionRequest::default();
            let status = world.runtime_with(key).await.redeem_decision(request).await.expect_err("no key");
            assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "KEY_INVALID"), "{key:?}");
        }
        world.admin().await.get_supervisor(admin::GetSupervisorRequest {}).await.expect("the key is right");
        let status = world.runtime().await.redeem_decision(runtime::RedeemDecisionRequest::default()).await;
        assert_eq!(reason(&status.expect_err("none was given")), "RECORD_UNKNOWN");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_socket_serves_its_own_service() {
    within(async {
        let world = World::with(vec![]).await;
        let request = |key: &str| {
            let mut request = tonic::Request::new(admin::GetSupervisorRequest {});
            request.metadata_mut().insert("outrigger-key", key.parse().expect("it is ASCII"));
            request
        };
        let channel = world.runtime_channel().await;
        let mut stray = outrigger_proto::admin::v1::admin_service_client::AdminServiceClient::new(channel);
        let status = stray.get_supervisor(request(RUNTIME_KEY)).await.expect_err("it is the runtime's socket");
        assert_eq!(status.code(), Code::Unimplemented);
        let status = stray.get_supervisor(request(ADMIN_KEY)).await.expect_err("it is the runtime's socket");
        assert_eq!(status.code(), Code::Unauthenticated);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn health_is_served_with_the_key_and_without_it_not() {
    within(async {
        let world = World::with(vec![]).await;
        let mut client = HealthClient::new(world.admin_channel().await);
        let status = client.check(HealthCheckRequest::default()).await.expect_err("no key");
        assert_eq!(status.code(), Code::Unauthenticated);
        let mut request =
            tonic::Request::new(HealthCheckRequest { service: "outrigger.admin.v1.AdminService".to_owned() });
        request.metadata_mut().insert("outrigger-key", ADMIN_KEY.parse().expect("it is ASCII"));
        assert_eq!(client.check(request).await.expect("the key is right").into_inner().status, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connections_end_with_the_supervisor() {
    within(async {
        let world = World::with(vec![]).await;
        let mut client = world.admin().await;
        client.get_supervisor(admin::GetSupervisorRequest {}).await.expect("it lives");
        let mut watching =
            client.watch_plugins(admin::WatchPluginsRequest::default()).await.expect("it lives").into_inner();
        world.service.stop().await;
        world.stopping.cancel();
        world.tasks.close();
        tokio::time::timeout(std::time::Duration::from_secs(1), world.tasks.wait()).await.expect("no task is left");
        while let Ok(Some(_)) = watching.message().await {}
        assert!(client.get_supervisor(admin::GetSupervisorRequest {}).await.is_err());
    })
    .await;
}
