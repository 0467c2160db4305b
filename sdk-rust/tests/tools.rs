//! Served tools: arguments, progress, answers, errors and failures, cancels.

use std::sync::Arc;
use std::time::Duration;

use outrigger_sdk::proto::plugin::v1::{CancelReason, FailureReason};
use outrigger_sdk::proto::types::v1::tool_content::Part;
use outrigger_sdk::proto::types::v1::{SessionRef, ToolHints, ToolRisk};
use outrigger_sdk::testkit::{CallError, TestHost};
use outrigger_sdk::{HandlerError, Plugin, ToolAnswer, ToolContext};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

#[derive(Deserialize)]
struct Words {
    text: String,
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]})
}

#[tokio::test]
async fn a_tool_is_registered_with_all_that_describes_it() {
    let plugin = Plugin::new()
        .tool("word_count", "Counts words.", schema(), |words: Words, _cx| async move {
            Ok(format!("{} words", words.text.split_whitespace().count()))
        })
        .output_schema(json!({"type": "object"}))
        .hints(ToolHints { read_only: Some(true), ..Default::default() })
        .display_name("Word count")
        .risk(ToolRisk::Low)
        .tags(["text"])
        .timeout(Duration::from_secs(700))
        .max_concurrency(3);
    let host = TestHost::start(plugin).await.expect("ready");
    let tool = &host.registered().tools[0];
    let spec = tool.spec.as_ref().expect("it is served");
    assert_eq!((&*spec.name, &*spec.description), ("word_count", "Counts words."));
    assert_eq!(serde_json::from_slice::<Value>(&spec.input_schema_json).expect("JSON"), schema());
    assert_eq!(&spec.output_schema_json[..], br#"{"type":"object"}"#);
    assert_eq!(spec.hints.as_ref().expect("hints").read_only, Some(true));
    let metadata = tool.metadata.as_ref().expect("metadata");
    assert_eq!((&*metadata.display_name, metadata.risk(), &*metadata.tags[0]), ("Word count", ToolRisk::Low, "text"));
    let options = tool.options.as_ref().expect("options");
    assert_eq!((options.timeout.expect("a timeout").seconds, options.max_concurrency), (700, 3));
    let answer = host.tool("word_count", json!({"text": "one two"})).answer().await;
    assert_eq!(answer, Ok(ToolAnswer::text("2 words")));
    // What the schema lets through and the type does not is for the model to mend.
    let answer = host.tool("word_count", json!({"text": 1})).answer().await.expect("an answer");
    assert!(answer.is_error());
    let Some(Part::Text(text)) = &answer.wire().content[0].part else { unreachable!("a text") };
    assert!(text.contains("invalid type: integer `1`, expected a string"), "{text}");
    let unknown = host.tool("other", json!({})).answer().await;
    assert!(matches!(unknown, Err(CallError::Failed { reason: FailureReason::Unsupported, .. })), "{unknown:?}");
}

#[tokio::test]
async fn an_answer_has_parts_of_every_kind() {
    let full = |upload: &str| {
        ToolAnswer::text("a")
            .and_json(&json!([1]))
            .and_image("image/png", vec![0x89, b'P'])
            .and_file(upload, "report.pdf")
            .structured(&json!({"n": 1}))
    };
    let plugin =
        Plugin::new().tool("all", "All.", json!({"type": "object"}), move |_: Value, cx: ToolContext| async move {
            Ok(full(&cx.host().upload("x.pdf", "%PDF".into()).await?))
        });
    let host = TestHost::start(plugin).await.expect("ready");
    let call = host.tool("all", json!({})).send();
    let id = call.id();
    assert_eq!(call.answer().await, Ok(full("upload-1")));
    assert_eq!((host.uploads()[0].invocation_id, &*host.uploads()[0].content), (id, &b"%PDF"[..]));
}

#[tokio::test]
async fn an_error_is_told_apart_from_a_failure() {
    let plugin = Plugin::new()
        .tool("error", "Error.", json!({"type": "object"}), |_: Value, _| async {
            Ok(ToolAnswer::error("no such file"))
        })
        .tool("failure", "Failure.", json!({"type": "object"}), |_: Value, _| async {
            Err::<ToolAnswer, _>(HandlerError::new("disk on fire"))
        })
        .tool("panic", "Panic.", json!({"type": "object"}), |arguments: Value, _| async move {
            assert!(arguments.is_null(), "not null");
            Ok("")
        });
    let host = TestHost::start(plugin).await.expect("ready");
    assert_eq!(host.tool("error", json!({})).answer().await, Ok(ToolAnswer::error("no such file")));
    let failure = |message: &str| Err(CallError::Failed { reason: FailureReason::Error, message: message.into() });
    assert_eq!(host.tool("failure", json!({})).answer().await, failure("disk on fire"));
    assert_eq!(host.tool("panic", json!({})).answer().await, failure("the handler panicked: not null"));
}

#[tokio::test]
async fn progress_comes_before_the_answer_and_none_after_it() {
    let go = Arc::new(Notify::new());
    let (sender, mut contexts) = mpsc::unbounded_channel();
    let plugin = {
        let go = go.clone();
        Plugin::new().tool("steps", "Steps.", json!({"type": "object"}), move |_: Value, cx: ToolContext| {
            let (go, sender) = (go.clone(), sender.clone());
            async move {
                // Before the handler waits for the first time, too.
                cx.progress(1.0, 3.0, "one");
                go.notified().await;
                cx.progress(1.5, 3.0, "overtaken");
                cx.progress(2.0, 3.0, "x".repeat(600));
                assert_eq!((cx.tool(), cx.tool_call_id()), ("steps", "tool-call-1"));
                assert_eq!(cx.call_context::<Value>()?["channel"], "test");
                assert_eq!(cx.session().map(|session| &*session.handle), Some("s1"));
                let _ = sender.send(cx);
                Ok("done")
            }
        })
    };
    let host = TestHost::start(plugin).await.expect("ready");
    let session = SessionRef { handle: "s1".into(), ..Default::default() };
    let call = host.tool("steps", json!({})).session(session).context(json!({"channel": "test"})).send();
    let first = call.progressed(1).await;
    assert_eq!((first[0].done, first[0].total, &*first[0].message), (1.0, 3.0, "one"));
    go.notify_one();
    let told = call.progressed(2).await;
    assert_eq!(told.len(), 2, "what waits is overtaken: {told:?}");
    assert_eq!((told[1].done, told[1].message.len()), (2.0, 512));
    assert_eq!(call.answer().await, Ok(ToolAnswer::text("done")));
    // What outlives the call has nothing more to tell.
    contexts.recv().await.expect("the context").progress(3.0, 3.0, "late");
    host.ping().await;
    assert_eq!((host.late_answers(), host.violations()), (0, Vec::<String>::new()));
}

#[tokio::test]
async fn many_calls_with_progress_keep_each_its_own() {
    let plugin = Plugin::new().max_in_flight(64).tool(
        "count",
        "Count.",
        json!({"type": "object"}),
        |steps: Value, cx: ToolContext| async move {
            let steps = steps["steps"].as_u64().unwrap_or_default();
            for step in 1..=steps {
                cx.progress(step as f64, steps as f64, "");
                tokio::task::yield_now().await;
            }
            Ok(steps.to_string())
        },
    );
    let host = TestHost::start(plugin).await.expect("ready");
    let calls: Vec<_> = (1..=60_u64).map(|steps| (steps, host.tool("count", json!({"steps": steps})).send())).collect();
    for (steps, call) in calls {
        let last = call.progressed(1).await;
        assert!(last.iter().all(|told| told.total == steps as f64));
        assert_eq!(call.answer().await, Ok(ToolAnswer::text(steps.to_string())));
    }
    assert_eq!((host.late_answers(), host.violations()), (0, Vec::<String>::new()));
}

#[tokio::test]
async fn a_cancel_drops_the_handler_and_silences_it() {
    struct Dropped(mpsc::UnboundedSender<&'static str>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let (sender, mut told) = mpsc::unbounded_channel();
    let plugin = Plugin::new()
        .tool("wait", "Wait.", json!({"type": "object"}), {
            let sender = sender.clone();
            move |_: Value, _| {
                let dropped = Dropped(sender.clone());
                async move {
                    let _dropped = dropped;
                    std::future::pending::<Result<ToolAnswer, HandlerError>>().await
                }
            }
        })
        .tool("stubborn", "Stubborn.", json!({"type": "object"}), move |_: Value, cx: ToolContext| {
            let sender = sender.clone();
            async move {
                cx.cancelled().await;
                cx.progress(1.0, 1.0, "too late");
                let _ = sender.send("in order");
                Ok("")
            }
        })
        .keep_running_on_cancel();
    let host = TestHost::start(plugin).await.expect("ready");
    for (tool, end) in [("wait", "dropped"), ("stubborn", "in order")] {
        let call = host.tool(tool, json!({})).send();
        host.ping().await;
        call.cancel(CancelReason::CallerGone);
        assert_eq!(told.recv().await, Some(end));
        call.outcome().await.expect("an answer frees the place");
    }
    assert_eq!((host.late_answers(), host.violations()), (2, Vec::<String>::new()));
}
