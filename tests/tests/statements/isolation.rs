//! What a plugin is given, and who it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use outrigger::transport::client::connect;
use outrigger_proto::plugin::v1::plugin_service_client::PluginServiceClient;
use outrigger_proto::plugin::v1::session_request::Control as ToHost;
use outrigger_proto::plugin::v1::{Hello, SessionRequest};
use outrigger_proto::types::v1::{PluginState, ProtocolRange};
use outrigger_tests::world::FOREIGN_VARIABLE;
use outrigger_tests::{Setup, processes, within};
use serde_json::json;

use crate::{LIMIT, arrange, look};

/// X14: the environment of a child has only allowed names.
///
/// Q9: it is built from an allow-list, not inherited; working directory, file descriptors and umask are set by the
/// supervisor.
#[tokio::test]
async fn x14_q09_a_child_gets_what_the_supervisor_decides_and_nothing_else() {
    within(LIMIT, async {
        let own = "env = { CHOSEN = \"by the operator\" }";
        let package = arrange::telling("child").manifest("env = { DECLARED = \"by the manifest\" }").entry(own);
        let world = Setup::new().await.plugin(package).start().await;
        let status = world.ready("child").await;

        let environment = processes::environment(status.pid);
        let mut allowed: BTreeSet<&str> = [
            "CHOSEN",
            "DECLARED",
            "HOME",
            "LANG",
            "OUTRIGGER_DATA_DIR",
            "OUTRIGGER_LAUNCH",
            "OUTRIGGER_PACKAGE_DIR",
            "OUTRIGGER_SOCKET",
            "OUTRIGGER_TARGET",
            "OUTRIGGER_TOKEN",
            "PATH",
            "TMPDIR",
        ]
        .into();
        if std::env::var_os("TZ").is_some() {
            allowed.insert("TZ");
        }
        // The shell in between adds its own PWD and nothing that it was not given.
        let names: BTreeSet<&str> = environment.keys().map(String::as_str).filter(|name| *name != "PWD").collect();
        assert_eq!(names, allowed);
        assert!(processes::environment(world.pid()).contains_key(FOREIGN_VARIABLE), "the supervisor has it");
        let data = world.data_dir("child");
        assert_eq!(environment["HOME"], data.join("home").display().to_string());
        assert_eq!(environment["TMPDIR"], data.join("tmp").display().to_string());
        assert_eq!(environment["CHOSEN"], "by the operator");
        // The operator is told the same names.
        let full = world.full("child").await;
        assert_eq!(full.environment_names.iter().map(String::as_str).collect::<BTreeSet<_>>(), allowed);

        world.told("child", "told").await;
        let lines: Vec<_> = world.log_of("child").await.into_iter().map(|line| line.text).collect();
        let begin = lines.iter().position(|line| line.starts_with("cwd ")).expect("it tells where it is");
        let package = fs::canonicalize(world.package_dir("child")).expect("the package is there");
        assert_eq!(lines[begin], format!("cwd {}", package.display()));
        assert_eq!(lines[begin + 1], "umask 0077");
        assert_eq!(lines[begin + 2..begin + 5], ["0", "1", "2"], "no further descriptor: {lines:?}");
        assert_eq!(lines[begin + 5], "fd 0 /dev/null");
        assert!(lines[begin + 6].starts_with("fd 1 pipe:") && lines[begin + 7].starts_with("fd 2 pipe:"), "{lines:?}");
        assert_eq!(lines[begin + 8], "told");
    })
    .await;
}

/// Q10: identity comes from the connection (the socket of the launch plus a one-time token), never from a field in a
/// message: a token of another launch is refused, and so is a right one from outside the launch's processes.
#[tokio::test]
async fn q10_a_token_is_good_on_its_own_socket_from_its_own_processes_only() {
    within(LIMIT, async {
        let setup = Setup::new().await.plugin(arrange::waiting_for_go("victim"));
        let world = setup.plugin(arrange::with_stolen_token("thief")).start().await;
        let thief = world.ready("thief").await;
        let victim = world
            .wait_until("victim runs and has not said Hello", |statuses| {
                statuses
                    .get("victim")
                    .filter(|status| status.state() == PluginState::Starting && status.pid != 0)
                    .cloned()
            })
            .await;
        let environment = processes::environment(victim.pid);
        let (token, socket) = (&environment["OUTRIGGER_TOKEN"], Path::new(&environment["OUTRIGGER_SOCKET"]));

        // From outside the tree, as the same user: with the right token on the right socket.
        let told = say_hello(socket, token).await;
        assert!(told.is_err(), "a stranger was welcomed: {told:?}");
        // From another launch, on its own socket.
        fs::write(world.data_dir("thief").join("token"), token).expect("let it steal");
        world.reload("thief").await.expect_err("a foreign token is refused");
        world.told("thief", "the session ended: status Unauthenticated").await;
        look::assert_only_launch(&world, "thief", thief.pid).await;
        assert_eq!(world.status("thief").await.generation, thief.generation);

        // Nothing of it used the token up or became the victim.
        let now = world.status("victim").await;
        assert_eq!((now.state(), now.generation, now.pid), (PluginState::Starting, 1, victim.pid), "{now:?}");
        fs::write(world.data_dir("victim").join("go"), "").expect("let it go on");
        let ready = world.ready("victim").await;
        assert_eq!((ready.generation, ready.pid), (1, victim.pid));
        assert_eq!(world.call("victim", &json!({})).await.short(), "go-on/allow");
        assert_eq!(world.causes("victim").await, [""; 0]);

        // Once: the token has been used now.
        let told = say_hello(socket, token).await;
        assert!(told.is_err(), "a stranger was welcomed: {told:?}");
        look::assert_untouched(&world, "victim", &ready).await;
    })
    .await;
}

/// Says Hello on a launch's socket. What came first; `Err`: how it was refused.
async fn say_hello(socket: &Path, token: &str) -> Result<String, String> {
    let channel = connect(socket).await.map_err(|error| error.to_string())?;
    let hello = Hello {
        token: token.to_owned(),
        protocol: Some(ProtocolRange { min: 1, max: 1 }),
        sdk: "none".to_owned(),
        ..Hello::default()
    };
    let first = SessionRequest { control: Some(ToHost::Hello(hello)), ..SessionRequest::default() };
    // It stays open after the first message.
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    requests.send(first).await.expect("there is room");
    let requests_stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let answered = PluginServiceClient::new(channel).session(requests_stream).await;
    let mut session = answered.map_err(|status| status.to_string())?.into_inner();
    match session.message().await {
        Ok(Some(message)) => Ok(format!("{message:?}")),
        Ok(None) => Err("the session ended".to_owned()),
        Err(status) => Err(status.to_string()),
    }
}
