//! Tools that plugins serve, as real processes behind a real supervisor: one of the SDK, one of stock Python stubs. What
//! reached a plugin is told by its own book.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use outrigger_proto::runtime::v1::invoke_tool_response::Event;
use outrigger_proto::runtime::v1::{InvokeHookRequest, InvokeToolRequest, InvokeToolResponse, ListToolsRequest};
use outrigger_proto::types::v1::{PluginState, tool_content::Part};
use outrigger_tests::hooks::tool_call;
use outrigger_tests::programs::program;
use outrigger_tests::world::PATIENCE;
use outrigger_tests::{Package, Setup, World, processes, python, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming};

const LIMIT: Duration = Duration::from_secs(120);

/// The tool server of the SDK.
fn server() -> Package {
    let program = program("tool-server");
    let program = program.to_str().expect("the build directory's path is text");
    let package = Package::of_program("server", &[program]).scopes(&["tools.serve"]);
    package.manifest("tools = [\"count\"]").entry("grants = [\"tools.serve\"]")
}

/// `stock_tools.py`, with a book of what it was asked.
async fn stock(directory: &Path) -> Package {
    let directory = directory.join("python-tools");
    python::environment().await.write_tools(&directory).expect("write the package");
    let counted = "import os, stock_tools\n\n\nclass Counted(stock_tools.Tools):\n    def invoked(self, invocation):\n        \
                   with open(os.path.join(os.environ[\"OUTRIGGER_DATA_DIR\"], \"calls\"), \"a\") as book:\n            \
                   book.write(invocation.tool.tool_call_id + \"\\n\")\n        super().invoked(invocation)\n\n\nCounted().run()\n";
    fs::write(directory.join("counted.py"), counted).expect("write the script");
    let manifest = fs::read_to_string(directory.join("plugin.toml")).expect("it was written");
    fs::write(directory.join("plugin.toml"), manifest.replace("stock_tools.py", "counted.py")).expect("change it");
    Package::written("python-tools", &directory).entry("grants = [\"tools.serve\"]")
}

/// Lines of a book that a plugin keeps in its data directory.
fn book(world: &World, plugin: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(world.data_dir(plugin).join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until a book has so many lines.
async fn noted(world: &World, plugin: &str, name: &str, lines: usize) {
    let end = Instant::now() + PATIENCE;
    while book(world, plugin, name).len() < lines {
        assert!(Instant::now() < end, "{name} of {plugin}: {:?}", book(world, plugin, name));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn request(tool: &str, arguments: &Value) -> InvokeToolRequest {
    InvokeToolRequest {
        tool_name: tool.to_owned(),
        arguments_json: arguments.to_string().into(),
        tool_call_id: "call".to_owned(),
        ..InvokeToolRequest::default()
    }
}

async fn open(world: &World, request: InvokeToolRequest) -> Result<Streaming<InvokeToolResponse>, Status> {
    world.runtime().invoke_tool(request).await.map(tonic::Response::into_inner)
}

/// The whole call: progress, and the text of its result.
async fn invoke(world: &World, request: InvokeToolRequest) -> Result<(Vec<f64>, String), Status> {
    let mut stream = open(world, request).await?;
    let mut progress = Vec::new();
    while let Some(message) = stream.message().await? {
        match message.event.expect("it is of a known kind") {
            Event::Progress(news) => progress.push(news.done),
            Event::Result(result) => {
                let content = result.result.expect("it has one").content;
                let said = content.into_iter().find_map(|content| match content.part {
                    Some(Part::Text(text)) => Some(text),
                    _ => None,
                });
                assert_eq!(stream.message().await.expect("it ends well").map(drop), None, "the result is last");
                return Ok((progress, said.unwrap_or_default()));
            }
        }
    }
    unreachable!("a call ends with a result or a status")
}

/// Asks the gate about a call of a tool: the id of its decision, and the call's.
async fn decide(world: &World, tool: &str, arguments: &Value) -> (String, String) {
    let invocation = tool_call(tool, arguments);
    let call = invocation.tool_call_id.clone();
    let request = InvokeHookRequest { invocation: Some(invocation) };
    let outcome = world.runtime().invoke_hook(request).await.expect("it is carried out").into_inner().outcome;
    (outcome.expect("an outcome").decision.expect("it may run").decision_id, call)
}

/// Without a decision, with one for other arguments, with a used one: refused, and the plugin was not asked.
#[tokio::test]
async fn a_served_tool_runs_only_with_its_decision_and_once() {
    within(LIMIT, async {
        let packages = python::packages();
        let gate = Package::well_behaved("gate").arguments(&["--tool", "count", "--tool", "word_count"]);
        let gate = gate.guard(&["count", "word_count"]);
        let setup = Setup::new().await.plugin(gate).plugin(server()).plugin(stock(packages.path()).await);
        let world = setup.start().await;
        for plugin in ["gate", "server", "python-tools"] {
            world.ready(plugin).await;
        }
        let cases = [
            ("server", "count", json!({ "to": 3 }), json!({ "to": 4 }), "counted to 3"),
            (
                "python-tools",
                "word_count",
                json!({ "text": "a b a" }),
                json!({ "text": "c" }),
                "3 words, 2 of them different",
            ),
        ];
        for (plugin, tool, arguments, others, said) in cases {
            let refused = async |request| invoke(&world, request).await.expect_err("it is refused").code();
            assert_eq!(refused(request(tool, &arguments)).await, Code::FailedPrecondition, "without a decision");
            let (decision, call) = decide(&world, tool, &arguments).await;
            let with = |arguments: &Value, decision: &str, call: &str| InvokeToolRequest {
                decision_id: decision.to_owned(),
                tool_call_id: call.to_owned(),
                ..request(tool, arguments)
            };
            assert_eq!(refused(with(&others, &decision, &call)).await, Code::NotFound, "for other arguments");
            assert_eq!(refused(with(&arguments, &decision, "another")).await, Code::NotFound, "of another call");
            assert_eq!(refused(with(&arguments, "made-up", &call)).await, Code::NotFound, "never given");
            assert_eq!(book(&world, plugin, "calls"), [""; 0], "{plugin} was not asked");
            let (progress, result) = invoke(&world, with(&arguments, &decision, &call)).await.expect("it runs");
            assert_eq!(result, said);
            assert!(progress.is_sorted() && !progress.is_empty(), "{progress:?}");
            assert_eq!(book(&world, plugin, "calls"), [call.as_str()]);
            assert_eq!(refused(with(&arguments, &decision, &call)).await, Code::NotFound, "a used one");
            assert_eq!(book(&world, plugin, "calls").len(), 1, "{plugin} was asked once");
        }
    })
    .await;
}

/// Killed in the middle: one failure, at once. Cancelled: the plugin hears of it. Failing again and again: the breaker opens.
#[tokio::test]
async fn a_call_ends_with_its_plugin_its_caller_and_its_breaker() {
    within(LIMIT, async {
        let packages = python::packages();
        let setup = Setup::new().await.set("backoff_first", "10m").set("backoff_max", "10m");
        let world = setup.plugin(server()).plugin(stock(packages.path()).await).start().await;
        for plugin in ["server", "python-tools"] {
            world.ready(plugin).await;
        }
        // The caller goes away.
        let long = json!({ "to": 1000, "pause_ms": 60 });
        let mut stream = open(&world, request("count", &long)).await.expect("nobody guards it");
        let first = stream.message().await.expect("it goes on").and_then(|message| message.event);
        assert!(matches!(first, Some(Event::Progress(_))), "{first:?}");
        drop(stream);
        noted(&world, "server", "cancels", 1).await;
        assert_eq!(world.status("server").await.generation, 1, "it obeyed, and lives");

        // The plugin goes away.
        for (plugin, tool, arguments) in [("server", "count", long), ("python-tools", "wait", json!({ "seconds": 30 }))]
        {
            let mut stream = open(&world, request(tool, &arguments)).await.expect("nobody guards it");
            assert!(stream.message().await.expect("it goes on").is_some());
            let pid = world.status(plugin).await.pid;
            let begin = Instant::now();
            processes::signal(pid, Signal::KILL);
            let status = loop {
                match stream.message().await {
                    Ok(Some(message)) => assert!(matches!(message.event, Some(Event::Progress(_))), "no result"),
                    Ok(None) => unreachable!("it has no result, so it cannot end well"),
                    Err(status) => break status,
                }
            };
            let took = begin.elapsed();
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            assert!(status.message().contains(plugin), "{status:?}");
            assert!(took < Duration::from_secs(5), "at once, not by the deadline: {took:?}");
            world.wait_for(plugin, PluginState::Waiting).await;
            // It stays listed, and is answered at once.
            let begin = Instant::now();
            let absent = invoke(&world, request(tool, &arguments)).await.expect_err("it is away");
            assert_eq!(absent.code(), Code::Unavailable, "{absent:?}");
            assert!(begin.elapsed() < Duration::from_secs(5));
            let listed = world.runtime().list_tools(ListToolsRequest::default()).await.expect("it lists").into_inner();
            let entry =
                listed.entries.into_iter().find(|entry| entry.spec.as_ref().is_some_and(|spec| spec.name == tool));
            assert!(entry.is_some_and(|entry| !entry.available && entry.plugin_id == plugin));
        }
        assert_eq!(book(&world, "server", "calls").len(), 2, "never repeated by the supervisor");

        world.cli(&["start", "server"]).await;
        world.ready("server").await;
        let before = book(&world, "server", "calls").len();
        // The kill was the first of five failures in a row, whatever generation they were of.
        for _ in 0..4 {
            let failed = invoke(&world, request("count", &json!({ "to": 0, "fail": true }))).await;
            assert_eq!(failed.expect_err("it fails").code(), Code::Unavailable);
        }
        let open = invoke(&world, request("count", &json!({ "to": 0 }))).await.expect_err("the breaker is open");
        assert!(open.message().contains("the breaker of its tool `count` is open"), "{open:?}");
        assert_eq!(book(&world, "server", "calls").len(), before + 4, "it was not asked");
    })
    .await;
}

/// `outrigger call PLUGIN --tool`: progress, the result, and what is wrong.
#[tokio::test]
async fn an_operator_calls_a_tool() {
    within(LIMIT, async {
        // What the gate says is not asked: the operator tries the tool out.
        let gate = Package::well_behaved("gate").guard(&["count"]);
        let world = Setup::new().await.plugin(gate).plugin(server()).start().await;
        world.ready("server").await;
        let ran = world.cli(&["call", "server", "--tool", "count", "--args", r#"{"to":2}"#]).await;
        let out = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success() && out.contains("counted to 2"), "{ran:?}");
        let ran = world.cli(&["--json", "call", "server", "--tool", "count", "--args", r#"{"to":2}"#]).await;
        assert!(ran.status.success(), "{ran:?}");
        assert!(String::from_utf8_lossy(&ran.stdout).contains("counted to 2"), "{ran:?}");
        assert_eq!(book(&world, "server", "calls").len(), 2);
        let wrong = world.cli(&["call", "server", "--tool", "count", "--args", r#"{"to":-1}"#]).await;
        assert_ne!(wrong.status.code(), Some(0), "{wrong:?}");
        let unknown = world.cli(&["call", "server", "--tool", "sum"]).await;
        assert_ne!(unknown.status.code(), Some(0), "{unknown:?}");
        assert_eq!(book(&world, "server", "calls").len(), 2, "neither reached it");
    })
    .await;
}
