//! What a collector gets, read as a collector reads it.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_proto::types::v1::PluginState as State;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::domain::launch::{ControlConnection, Peer};
use crate::service::testing::{World, allow, before_tool_call, spec, within};

/// Asks once on a connection of its own; status line, head, body.
async fn ask(socket: &mpsc::Sender<ControlConnection>, request: &str) -> (String, String, String) {
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let connection = ControlConnection { io: Box::new(theirs), peer: Peer { pid: 1, uid: 0 } };
    socket.send(connection).await.expect("the socket accepts");
    ours.write_all(request.as_bytes()).await.expect("it reads");
    let mut text = String::new();
    ours.read_to_string(&mut text).await.expect("it answers in text, and closes");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let (status, head) = head.split_once("\r\n").expect("a status line");
    (status.to_owned(), head.to_ascii_lowercase(), body.to_owned())
}

/// Series with their values. Fails where the text breaks a rule of OpenMetrics 1.0.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("it has an end");
    let mut series = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let (mut family, mut kind) = ("", "");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            (family, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(seen.insert(family), "{family} comes twice");
            assert!(["info", "gauge", "counter", "stateset", "summary"].contains(&kind), "{kind}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect("a name and a unit");
            assert!(name == family && family.ends_with(&format!("_{unit}")), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.starts_with(&format!("{family} ")) && rest.ends_with('.'), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let (bare, labels) = name.split_once('{').unwrap_or((name, "}"));
        let suffix = bare.strip_prefix(family).expect("it is in its family");
        let right = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert_eq!(suffix, right, "{line}");
        let labels = labels.strip_suffix('}').expect("labels end");
        let names: Vec<_> = labels.split(',').filter(|label| !label.is_empty()).collect();
        for label in &names {
            let (_, value) = label.split_once("=\"").expect("a label has a value");
            assert!(value.ends_with('"') && !value.trim_end_matches('"').contains('"'), "{line}");
        }
        assert_eq!(kind == "summary", labels.contains("quantile="), "{line}");
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(series.insert(name.to_owned(), value).is_none(), "{name} comes twice");
    }
    series
}

fn socket(world: &World) -> mpsc::Sender<ControlConnection> {
    let (sender, receiver) = mpsc::channel(4);
    world.service.serve_metrics(receiver);
    sender
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: outrigger\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_collector_reads_what_was_counted() {
    within(async {
        let world = World::with(vec![spec("p"), spec("q")]).await;
        let mut launches = [world.launched().await, world.launched().await];
        launches.sort_by_key(|launch| launch.plan.plugin.to_string());
        let _serves = launches[0].serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        // `q` has not come to serve, so its guard denies.
        for _ in 0..3 {
            world.dispatcher().dispatch(before_tool_call("exec", "{}")).await;
        }
        let socket = socket(&world);
        let (status, head, body) = ask(&socket, GET).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
        let series = parse(&body);
        let value = |name: &str| series.get(name).copied();
        assert_eq!(value(r#"outrigger_plugin_state{plugin="p",outrigger_plugin_state="ready"}"#), Some(1.0));
        assert_eq!(value(r#"outrigger_plugin_state{plugin="q",outrigger_plugin_state="ready"}"#), Some(0.0));
        assert_eq!(value(r#"outrigger_plugin_state{plugin="q",outrigger_plugin_state="starting"}"#), Some(1.0));
        let calls = |plugin: &str, outcome: &str| {
            let labels = format!(r#"{{plugin="{plugin}",hook="before_tool_call",outcome="{outcome}"}}"#);
            series.get(&format!("outrigger_hook_calls_total{labels}")).copied()
        };
        assert_eq!((calls("q", "absent"), calls("q", "allow")), (Some(3.0), Some(0.0)), "{body}");
        assert_eq!(value(r#"outrigger_plugin_denials_total{plugin="q"}"#), Some(3.0));
        assert_eq!(value(r#"outrigger_plugin_restarts_total{plugin="p"}"#), Some(0.0));
        assert!(value(r#"outrigger_plugin_event_lag{plugin="p"}"#).is_some());
        assert!(value(r#"outrigger_hook_breakers_open{plugin="p",hook="before_tool_call"}"#).is_some());
        assert_eq!(value(&format!("outrigger_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), Some(1.0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn answered_calls_have_times() {
    within(async {
        let world = World::with(vec![spec("p")]).await;
        let launch = world.launched().await;
        let _serves = launch.serves(|_| Some(allow())).await;
        world.until_state("p", State::Ready).await;
        world.dispatcher().dispatch(before_tool_call("exec", "{}")).await;
        let series = parse(&ask(&socket(&world), GET).await.2);
        let allowed = r#"outrigger_hook_calls_total{plugin="p",hook="before_tool_call",outcome="allow"}"#;
        assert_eq!(series.get(allowed), Some(&1.0));
        for quantile in ["0.5", "0.99"] {
            let labels = format!(r#"{{plugin="p",hook="before_tool_call",quantile="{quantile}"}}"#);
            assert!(series.contains_key(&format!("outrigger_hook_latency_seconds{labels}")), "{series:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_asked_for_well_is_refused() {
    within(async {
        let world = World::with(vec![]).await;
        let socket = socket(&world);
        for (request, expected) in [
            ("GET /secrets HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found"),
            ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
            ("what is this\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        ] {
            assert_eq!(ask(&socket, request).await.0, expected, "{request:?}");
        }
        let (_, _, body) = ask(&socket, GET).await;
        assert!(parse(&body).keys().all(|name| !name.contains("plugin=")), "{body}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn silent_collectors_keep_no_place() {
    within(async {
        let world = World::with(vec![]).await;
        let socket = socket(&world);
        let mut silent = Vec::new();
        for _ in 0..super::AT_ONCE {
            let (ours, theirs) = tokio::io::duplex(1024);
            let connection = ControlConnection { io: Box::new(theirs), peer: Peer { pid: 1, uid: 0 } };
            socket.send(connection).await.expect("the socket accepts");
            silent.push(ours);
        }
        // Each is cut off after its time.
        for mut one in silent {
            assert_eq!(one.read(&mut [0; 16]).await.expect("it is closed"), 0);
        }
        assert_eq!(ask(&socket, GET).await.0, "HTTP/1.1 200 OK");
    })
    .await;
}
