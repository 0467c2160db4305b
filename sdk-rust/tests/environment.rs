//! The life of a plugin's process: its environment, its exit status, its signals.
//!
//! Without the test harness, whose threads would be in the way: the program starts itself as the plugin.

use std::process::{Command as StdCommand, ExitCode};

use outrigger_sdk::testkit::TestHost;
use outrigger_sdk::{Context, Decision, Launch, Plugin, ToolCall};
use serde_json::json;
use tokio::process::Command;

fn main() -> ExitCode {
    if std::env::var_os("OUTRIGGER_TOKEN").is_some() {
        return match plugin() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:?}");
                ExitCode::FAILURE
            }
        };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (name, test) in [
        ("the_token_is_gone_from_the_environment", Box::pin(the_token_is_gone()) as BoxTest),
        ("it_runs_on_a_runtime_of_the_program", Box::pin(on_the_programs_runtime())),
        ("a_shutdown_ends_with_status_0", Box::pin(shutdown())),
        ("sigterm_finishes_what_is_in_flight", Box::pin(sigterm())),
        ("a_session_that_ends_unasked_ends_with_another_status", Box::pin(ended_unasked())),
        ("a_program_started_by_hand_says_so", Box::pin(by_hand())),
        ("logs_are_json_lines", Box::pin(logs())),
    ] {
        runtime.block_on(test);
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

type BoxTest = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// The plugin's side.
fn plugin() -> outrigger_sdk::Result<()> {
    let plugin = Plugin::on_start(|launch: Launch| async move { Ok(launch.data_dir().join("open")) })
        .on_shutdown(|_| async { outrigger_sdk::tracing::info!("goodbye") })
        .before_tool_call("guard", |call: ToolCall, cx: Context<std::path::PathBuf>| async move {
            outrigger_sdk::tracing::info!(tool = call.tool(), "asked");
            match call.tool() {
                "token" => {
                    let child = StdCommand::new("/bin/sh").args(["-c", "echo ${OUTRIGGER_TOKEN-none}"]).output()?;
                    let own = std::env::var("OUTRIGGER_TOKEN").unwrap_or("none".into());
                    Ok(Decision::block(format!("{own} {}", String::from_utf8_lossy(&child.stdout).trim())))
                }
                "wait" => {
                    while !cx.state().exists() {
                        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                    }
                    Ok(Decision::block("finished"))
                }
                #[expect(clippy::panic, reason = "what a plugin's author may write")]
                "panic" => panic!("a defect"),
                _ => Ok(Decision::declined()),
            }
        });
    if std::env::var_os("ON_TOKIO_MAIN").is_some() { on_tokio_main(plugin.build()) } else { plugin.run_blocking() }
}

#[tokio::main(flavor = "current_thread")]
async fn on_tokio_main(plugin: Plugin<std::path::PathBuf>) -> outrigger_sdk::Result<()> {
    plugin.run().await
}

async fn start(variables: &[(&str, &str)], directory: &std::path::Path) -> TestHost {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.envs(variables.iter().copied());
    TestHost::builder().data_dir(directory).spawn(command).await.expect("ready")
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

async fn the_token_is_gone() {
    let directory = directory();
    let host = start(&[], directory.path()).await;
    assert_eq!(host.before_tool_call("token", json!({})).await, Ok(Decision::block("none none")));
    host.shutdown().await.expect("status 0");
}

async fn on_the_programs_runtime() {
    let directory = directory();
    let host = start(&[("ON_TOKIO_MAIN", "1")], directory.path()).await;
    assert_eq!(host.before_tool_call("token", json!({})).await, Ok(Decision::block("none none")));
    host.shutdown().await.expect("status 0");
}

async fn shutdown() {
    let directory = directory();
    let host = start(&[], directory.path()).await;
    host.shutdown().await.expect("status 0");
}

async fn sigterm() {
    let directory = directory();
    let mut host = start(&[], directory.path()).await;
    let waits = host.call("guard").tool("wait").send();
    host.ping().await;
    let pid = host.pid().expect("it runs").to_string();
    assert!(StdCommand::new("kill").arg(&pid).status().expect("kill runs").success());
    // The plugin tells that it has heard; only then is the call let go.
    let heard = async {
        while !host.stderr().contains("asked to terminate") {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(outrigger_sdk::testkit::LIMIT, heard).await.expect("it hears");
    std::fs::write(directory.path().join("open"), "").expect("a file");
    assert_eq!(waits.decision().await, Ok(Decision::block("finished")));
    host.ended().await.expect("status 0");
    assert!(host.stderr().contains("goodbye"), "{}", host.stderr());
}

async fn ended_unasked() {
    let directory = directory();
    let mut host = start(&[], directory.path()).await;
    host.end_session(Some(tonic::Status::unavailable("gone")));
    let error = host.ended().await.expect_err("another status");
    let text = format!("{error:?}");
    assert!(text.contains("exit status: 1") && text.contains("ended unexpectedly"), "{text}");
}

async fn by_hand() {
    let mut command = StdCommand::new(std::env::current_exe().expect("this program"));
    let output = command.env("OUTRIGGER_TOKEN", "x").env_remove("OUTRIGGER_SOCKET").output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("OUTRIGGER_SOCKET is not set"), "{text}");
}

async fn logs() {
    let directory = directory();
    let mut host = start(&[("RUST_LOG", "info")], directory.path()).await;
    host.before_tool_call("exec", json!({})).await.expect("a decision");
    host.before_tool_call("panic", json!({})).await.expect_err("a panic");
    host.end_session(None);
    let _ = host.ended().await;
    let stderr = host.stderr();
    let lines: Vec<serde_json::Value> = stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let asked = lines.iter().find(|line| line["message"] == "asked").unwrap_or_else(|| unreachable!("{stderr}"));
    assert_eq!((&asked["level"], &asked["tool"], &asked["invocation_id"]), (&json!("info"), &json!("exec"), &json!(1)));
    let panic = lines.iter().find(|line| line["message"] == "panicked: a defect");
    assert_eq!(panic.map(|line| (&line["level"], &line["invocation_id"])), Some((&json!("error"), &json!(2))));
}
