//! The catalogue: every hook with its event, its answer and its options.

use std::collections::HashSet;
use std::time::Duration;

use outrigger_sdk::answer::Answer;
use outrigger_sdk::hooks::{self, Hook};
use outrigger_sdk::proto::plugin::v1::{ApprovalCall, FailureReason, HookRegistration, VerdictReason};
use outrigger_sdk::proto::types::v1::{self as types, ApprovalOutcome, DispatchKind, Trigger};
use outrigger_sdk::testkit::{CallError, TestHost};
use outrigger_sdk::{
    Approval, Claim, Decision, Error, Evaluation, ExecEnvironment, Finalize, Gate, MessageRewrite, ModelOverride,
    Plugin, Proceed, Prompt, Retry, SubagentDelivery, SubagentSpawn, TextRewrite, ToolResultRewrite,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// A hook's handler answers with this, through the whole protocol; the answer comes back as it was made. An event
/// whose members are missing, and one with members nobody knows, is read.
async fn arrives<E, A>(seen: &mut HashSet<i32>, hook: Hook<E, A>, answers: Vec<A>)
where
    E: DeserializeOwned + Send + 'static,
    A: Answer + Clone + PartialEq + std::fmt::Debug + Sync,
{
    assert!(seen.insert(hook.wire().into()), "{hook:?} is there once");
    for answer in answers {
        let given = answer.clone();
        let plugin = Plugin::new().on(hook, "it", move |call, _cx| {
            let given = given.clone();
            async move {
                call.event()?;
                Ok(given)
            }
        });
        let host = TestHost::start(plugin).await.expect("ready");
        assert_eq!(host.registered().hooks[0].hook(), hook.wire());
        for event in [json!({}), json!({"unknownMember": [1, null]})] {
            assert_eq!(host.hook(hook, event).answer().await, Ok(answer.clone()), "{hook:?}");
        }
        host.shutdown().await.expect("in order");
    }
}

#[tokio::test]
async fn every_hook_of_the_contract_has_its_types_and_every_answer_arrives() {
    let mut seen = HashSet::new();
    let s = &mut seen;
    let prompts = || {
        let full = Prompt::default().prepend("a").append("b").prepend_system("c").append_system("d").system_prompt("");
        vec![
            Prompt::declined(),
            full.clone(),
            full.allow_tools(Vec::<String>::new()),
            Prompt::default().allow_tools(["exec"]),
        ]
    };
    let messages = || {
        vec![
            MessageRewrite::keep(),
            MessageRewrite::cancel().reason("no"),
            MessageRewrite::replace(&json!({"role": "user"})).expect("JSON"),
        ]
    };
    let claims = || {
        let claim = Claim::handled().reply(&json!({"text": "x"})).text("x").reason("mine").queued_final();
        vec![Claim::declined(), Claim::handled(), claim.count("final", 2)]
    };
    let gates = || {
        let block = Gate::block("no").message("Not now.").category("quota").metadata(&json!({"left": 0}));
        vec![Gate::declined(), Gate::pass(), block.clone(), block.finding(&json!({"file": "x"}))]
    };
    arrives(
        s,
        hooks::BEFORE_MODEL_RESOLVE,
        vec![
            ModelOverride::declined(),
            ModelOverride::default().model("m").provider("p"),
            ModelOverride::default().model("m"),
        ],
    )
    .await;
    arrives(s, hooks::AGENT_TURN_PREPARE, prompts()).await;
    arrives(s, hooks::BEFORE_PROMPT_BUILD, prompts()).await;
    arrives(s, hooks::HEARTBEAT_PROMPT_CONTRIBUTION, prompts()).await;
    arrives(s, hooks::BEFORE_AGENT_RUN, gates()).await;
    arrives(s, hooks::BEFORE_INSTALL, gates()).await;
    for hook in [hooks::INBOUND_CLAIM, hooks::BEFORE_DISPATCH] {
        arrives(s, hook, claims()).await;
    }
    arrives(s, hooks::BEFORE_AGENT_REPLY, claims()).await;
    arrives(s, hooks::REPLY_DISPATCH, claims()).await;
    arrives(
        s,
        hooks::BEFORE_AGENT_FINALIZE,
        vec![
            Finalize::declined(),
            Finalize::finalize("done"),
            Finalize::revise("short")
                .retry(Retry::new("Say more.").key("more").at_most(2))
                .retry(Retry::new("Or less.")),
        ],
    )
    .await;
    arrives(
        s,
        hooks::MESSAGE_SENDING,
        vec![
            TextRewrite::keep(),
            TextRewrite::replace(""),
            TextRewrite::cancel().reason("secret").metadata(&json!({"rule": 1})),
        ],
    )
    .await;
    arrives(s, hooks::REPLY_PAYLOAD_SENDING, messages()).await;
    arrives(s, hooks::BEFORE_MESSAGE_WRITE, messages()).await;
    arrives(
        s,
        hooks::TOOL_RESULT_PERSIST,
        vec![
            ToolResultRewrite::keep(),
            ToolResultRewrite::replace(&json!({"content": []})).expect("JSON").reason("shorter"),
        ],
    )
    .await;
    arrives(
        s,
        hooks::BEFORE_TOOL_CALL,
        vec![
            Decision::declined(),
            Decision::proceed(),
            Decision::block("no"),
            Decision::rewrite(object(json!({"a": 1}))).after(Approval::new("Sure?").context(&json!({"id": 1}))),
        ],
    )
    .await;
    arrives(
        s,
        hooks::RESOLVE_EXEC_ENV,
        vec![ExecEnvironment::declined(), ExecEnvironment::default().set("CI", "1").set("LANG", "C")],
    )
    .await;
    arrives(
        s,
        hooks::SKILL_PROPOSAL_EVALUATE,
        vec![
            Evaluation::declined(),
            Evaluation::pass().detail(&json!({"score": 0.5})),
            Evaluation::block("unsafe"),
            Evaluation::skip("not code"),
        ],
    )
    .await;
    arrives(
        s,
        hooks::SUBAGENT_SPAWNING,
        vec![SubagentSpawn::declined(), SubagentSpawn::ready(true), SubagentSpawn::refuse("too many")],
    )
    .await;
    arrives(
        s,
        hooks::SUBAGENT_DELIVERY_TARGET,
        vec![SubagentDelivery::declined(), SubagentDelivery::to(&json!({"channel": "x"}))],
    )
    .await;
    for hook in [hooks::MODEL_CALL_STARTED, hooks::MODEL_CALL_ENDED] {
        arrives(s, hook, vec![()]).await;
    }
    for hook in [hooks::BEFORE_COMPACTION, hooks::AFTER_COMPACTION] {
        arrives(s, hook, vec![()]).await;
    }
    arrives(s, hooks::LLM_INPUT, vec![()]).await;
    arrives(s, hooks::LLM_OUTPUT, vec![()]).await;
    arrives(s, hooks::AGENT_END, vec![()]).await;
    arrives(s, hooks::BEFORE_RESET, vec![()]).await;
    arrives(s, hooks::CHANNEL_PAIRING_REQUESTED, vec![()]).await;
    arrives(s, hooks::MESSAGE_RECEIVED, vec![()]).await;
    arrives(s, hooks::MESSAGE_SENT, vec![()]).await;
    arrives(s, hooks::AFTER_TOOL_CALL, vec![()]).await;
    arrives(s, hooks::SESSION_START, vec![()]).await;
    arrives(s, hooks::SESSION_END, vec![()]).await;
    arrives(s, hooks::SUBAGENT_SPAWNED, vec![()]).await;
    arrives(s, hooks::SUBAGENT_PROGRESS, vec![()]).await;
    arrives(s, hooks::SUBAGENT_ENDED, vec![()]).await;
    arrives(s, hooks::GATEWAY_START, vec![()]).await;
    arrives(s, hooks::GATEWAY_STOP, vec![()]).await;
    arrives(s, hooks::CRON_RECONCILED, vec![()]).await;
    arrives(s, hooks::CRON_CHANGED, vec![()]).await;
    arrives(s, hooks::SKILL_PROPOSAL_CHANGED, vec![()]).await;
    arrives(s, hooks::SKILL_CHANGED, vec![()]).await;
    // The contract numbers its hooks from 1 without a gap.
    let all: HashSet<i32> = (1..).take_while(|number| types::Hook::try_from(*number).is_ok()).collect();
    assert_eq!(all.len(), 43);
    assert_eq!(seen, all);
}

#[tokio::test]
async fn an_event_has_the_members_the_contract_names() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let plugin = Plugin::new().on(hooks::SESSION_END, "it", move |call, _| {
        let sender = sender.clone();
        async move {
            let event = call.event()?;
            let _ = sender.send((event.reason, event.message_count, event.next_session_key, event.transcript_archived));
            Ok(())
        }
    });
    let host = TestHost::start(plugin).await.expect("ready");
    let event = json!({"reason": "reset", "messageCount": 4, "nextSessionKey": "k", "transcriptArchived": true});
    host.hook(hooks::SESSION_END, event).answer().await.expect("seen");
    assert_eq!(seen.recv().await, Some((Some("reset".into()), Some(4), Some("k".into()), Some(true))));
    // A member of another type is a failure, and says which.
    let failed = host.hook(hooks::SESSION_END, json!({"messageCount": "four"})).answer().await;
    let Err(CallError::Failed { reason: FailureReason::InputInvalid, message }) = failed else {
        unreachable!("{failed:?}")
    };
    assert!(message.contains("invalid type: string \"four\""), "{message}");
}

fn registered<'a>(hooks: &'a [HookRegistration], id: &str) -> &'a HookRegistration {
    hooks.iter().find(|hook| hook.handler_id == id).expect("it is registered")
}

#[tokio::test]
async fn every_option_of_a_hook_is_registered() {
    let plugin = Plugin::new()
        .on(hooks::BEFORE_AGENT_REPLY, "reply", |_, _| async { Ok(Claim::declined()) })
        .triggers([Trigger::Heartbeat, Trigger::Cron])
        .priority(-3)
        .wants_messages()
        .on(hooks::REPLY_DISPATCH, "dispatch", |_, _| async { Ok(Claim::declined()) })
        .dispatch_kinds([DispatchKind::Acp])
        .with_states(["plan"])
        .on(hooks::BEFORE_PROMPT_BUILD, "prompt", |_, _| async { Ok(Prompt::declined()) })
        .requires_tool_authority()
        .timeout(Duration::from_millis(1_500))
        .max_concurrency(2)
        .on(hooks::AFTER_TOOL_CALL, "after", |_, _| async { Ok(()) })
        .tools(["exec", "read"])
        .description("looks on")
        .side_effect_free()
        .must_accept();
    let host = TestHost::start(plugin).await.expect("ready");
    let hooks = host.registered().hooks;
    let reply = registered(&hooks, "reply");
    assert_eq!(reply.triggers().collect::<Vec<_>>(), [Trigger::Heartbeat, Trigger::Cron]);
    assert!(reply.priority == -3 && reply.wants_messages && !reply.side_effect_free);
    let dispatch = registered(&hooks, "dispatch");
    assert_eq!(dispatch.dispatch_kinds().collect::<Vec<_>>(), [DispatchKind::Acp]);
    assert_eq!(dispatch.options.as_ref().expect("options").state_namespaces, ["plan"]);
    let prompt = registered(&hooks, "prompt");
    assert!(prompt.requires_tool_authority);
    let options = prompt.options.as_ref().expect("options");
    assert_eq!((options.timeout.expect("a timeout").nanos, options.max_concurrency), (500_000_000, 2));
    let after = registered(&hooks, "after");
    assert_eq!((&after.tool_names[..], &*after.description), (&["exec".to_owned(), "read".to_owned()][..], "looks on"));
    assert!(after.side_effect_free && after.options.as_ref().expect("options").must_accept);
}

#[tokio::test]
async fn the_conversation_comes_to_those_who_want_it() {
    let seen = |call: hooks::Call<hooks::event::AgentEnd>| {
        let messages = call.messages::<Value>().expect("messages").map(|messages| messages.len());
        assert!(call.event_as::<Value>().expect("JSON").get("messages").is_none());
        assert_eq!(call.event().expect("an event").success, Some(true));
        messages
    };
    let (sender, mut told) = mpsc::unbounded_channel();
    let other = sender.clone();
    let plugin = Plugin::new()
        .on(hooks::AGENT_END, "with", move |call, _| {
            let _ = sender.send(seen(call));
            async { Ok(()) }
        })
        .wants_messages()
        .on(hooks::AGENT_END, "without", move |call, _| {
            let _ = other.send(seen(call));
            async { Ok(()) }
        });
    let host = TestHost::start(plugin).await.expect("ready");
    let event = json!({"success": true, "messages": [{"role": "user"}, {"role": "assistant"}]});
    for (handler, messages) in [("with", Some(2)), ("without", None)] {
        host.hook(hooks::AGENT_END, event.clone()).handler(handler).answer().await.expect("seen");
        assert_eq!(told.recv().await, Some(messages), "{handler}");
    }
}

#[tokio::test]
async fn policies_come_first_and_replace_what_guards_only_add_to() {
    let plugin = Plugin::new()
        .policy("replace", "Sets the parameters", |call, _| async move {
            assert_eq!(call.tool(), "exec");
            let params = call.params::<Map<String, Value>>()?;
            if params.contains_key("secret") {
                return Ok(Decision::block("a secret"));
            }
            Ok(Decision::rewrite(object(json!({"command": "ls", "cwd": "/"}))))
        })
        .tools(["exec"])
        .policy("ask", "Asks", |call, _| async move {
            assert_eq!(call.params::<Value>()?["cwd"], "/", "a policy sees what the one before left");
            Ok(Decision::rewrite(object(json!({"command": "ls", "cwd": "/tmp"}))).after(Approval::new("List?")))
        })
        .before_tool_call("guard", |call, _| async move {
            assert_eq!(call.params::<Value>()?["cwd"], "/tmp");
            Ok(Decision::rewrite(object(json!({"cwd": "/etc"}))))
        });
    let host = TestHost::start(plugin).await.expect("ready");
    let register = host.registered();
    let policies: Vec<_> = register.tool_policies.iter().map(|item| (&*item.handler_id, &*item.description)).collect();
    assert_eq!(policies, [("replace", "Sets the parameters"), ("ask", "Asks")]);
    assert_eq!(register.tool_policies[0].hook(), types::Hook::BeforeToolCall);
    // What comes after the question is not what is approved.
    let params = Some(object(json!({"command": "ls", "cwd": "/tmp"})));
    let expected = Decision::Proceed(Proceed { params, approval: Some(Approval::new("List?")) });
    assert_eq!(host.before_tool_call("exec", json!({"command": "rm"})).await, Ok(expected));
    let blocked = host.before_tool_call("exec", json!({"secret": 1})).await;
    assert_eq!(blocked, Ok(Decision::block("a secret")));
    let alone = host.policy("replace").params(json!({"secret": 1})).answer().await;
    assert_eq!(alone, Ok(Decision::block("a secret")));
}

#[tokio::test]
async fn what_is_not_registered_is_not_called() {
    let plugin = Plugin::new().on(hooks::AGENT_END, "it", |_, _| async { Ok(()) });
    let host = TestHost::start(plugin).await.expect("ready");
    assert_eq!(host.hook(hooks::LLM_INPUT, json!({})).answer().await, Err(CallError::NoHandler));
    let unknown = |answer| matches!(answer, Err(CallError::Failed { reason: FailureReason::Unsupported, .. }));
    // The same id of another hook, and of a policy.
    assert!(unknown(host.call("it").answer().await));
    assert!(unknown(host.policy("it").answer().await));
    let number = |hook: i32| move |_: &mut _, call: &mut outrigger_sdk::proto::plugin::v1::HookCall| call.hook = hook;
    assert!(unknown(host.call("it").invocation(number(4_711)).answer().await));
}

#[tokio::test]
async fn an_answer_of_another_kind_is_told_apart() {
    let plugin = Plugin::new().on(hooks::BEFORE_MESSAGE_WRITE, "it", |_, _| async { Ok(MessageRewrite::cancel()) });
    let host = TestHost::start(plugin).await.expect("ready");
    // A tool's result can be replaced and never withheld; a text is no message.
    let asked = hooks::TOOL_RESULT_PERSIST;
    let as_result = host.hook(asked, json!({})).handler("it");
    let as_result = as_result.invocation(|_, call| call.hook = hooks::BEFORE_MESSAGE_WRITE.wire().into());
    assert_eq!(as_result.answer().await, Err(CallError::Unfitting));
    let as_gate = host.hook(hooks::BEFORE_AGENT_RUN, json!({})).handler("it");
    let as_gate = as_gate.invocation(|_, call| call.hook = hooks::BEFORE_MESSAGE_WRITE.wire().into());
    assert_eq!(as_gate.answer().await, Err(CallError::Unfitting));
}

#[tokio::test]
async fn a_refused_item_of_any_kind_costs_the_launch_if_it_must_be_accepted() {
    let refuse = |plugin: Plugin| async {
        let host = TestHost::builder().refuse_item("it", VerdictReason::NotGranted).start(plugin).await;
        host.map(drop)
    };
    let policy = || Plugin::new().policy("it", "It", |_, _| async { Ok(Decision::declined()) });
    let tool = || Plugin::new().tool("it", "It", json!({"type": "object"}), |_: Value, _| async { Ok("") });
    let events = || Plugin::new().subscribe("it", [""; 0], |_, _| async { Ok(()) });
    for plugin in [policy().build(), tool().build(), events().build()] {
        refuse(plugin).await.expect("it works without it");
    }
    for plugin in [policy().must_accept().build(), tool().must_accept().build(), events().must_accept().build()] {
        let error = refuse(plugin).await.expect_err("it must be accepted");
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn the_end_of_an_approval_is_told() {
    let ended = || ApprovalCall {
        outcome: ApprovalOutcome::AllowedOnce.into(),
        tool_name: "exec".into(),
        context_json: r#"{"id":7}"#.into(),
        ..Default::default()
    };
    let (sender, mut told) = mpsc::unbounded_channel();
    let plugin = Plugin::new().on_approval(move |end, _cx| {
        let sender = sender.clone();
        async move {
            let _ = sender.send((end.is_allowed(), end.tool().to_owned(), end.context::<Value>()?));
            Ok(())
        }
    });
    let host = TestHost::start(plugin).await.expect("ready");
    host.approval_ended("guard", ended()).answer().await.expect("noted");
    assert_eq!(told.recv().await, Some((true, "exec".to_owned(), json!({"id": 7}))));
    // Who does not listen has nothing against it.
    let host = TestHost::start(Plugin::new()).await.expect("ready");
    host.approval_ended("", ended()).answer().await.expect("noted");
}

#[tokio::test]
async fn a_trace_is_played_in_order_and_counted() {
    use outrigger_sdk::testkit::{Counts, Trace};

    let line = |n: usize, rest: Value| {
        let mut line = json!({"n": n, "t": 1, "kind": "hook", "ctx": {"sessionKey": "k", "runId": "r"}});
        line.as_object_mut().expect("an object").extend(object(rest));
        line.to_string()
    };
    let hook = |n, hook: &str, event: Value| line(n, json!({"hook": hook, "event": event}));
    let event = |n: usize| {
        let event = json!({"runId": "r", "stream": "lifecycle", "data": {"phase": "end"}, "seq": 1});
        json!({"n": n, "t": 1, "kind": "event", "event": event}).to_string()
    };
    let text = [
        hook(0, "session_start", json!({"sessionId": "s"})),
        // What is no object is sent as an empty one, and handed on.
        hook(1, "before_tool_call", json!({"toolName": "Exec", "params": "ls"})),
        hook(2, "before_tool_call", json!({"toolName": "read", "params": {}})),
        hook(3, "llm_input", json!({})),
        hook(4, "before_message_write", json!({"message": 7})),
        event(5),
    ]
    .join("\n");
    let (sender, mut seen) = mpsc::unbounded_channel();
    let events = sender.clone();
    let plugin = Plugin::new()
        .before_tool_call("exec-only", move |call, cx| {
            let run = cx.run().map(|run| run.id.clone());
            let _ = sender.send((call.event_as::<Value>().expect("JSON")["givenParams"].clone(), run));
            async { Ok(Decision::block("no")) }
        })
        .tools(["exec"])
        .before_tool_call("any", |_, _| async { Ok(Decision::declined()) })
        .on(hooks::SESSION_START, "start", |_, _| async { Ok(()) })
        .on(hooks::BEFORE_MESSAGE_WRITE, "fails", |_, _| async {
            Err::<MessageRewrite, _>(outrigger_sdk::HandlerError::new("cannot"))
        })
        .subscribe("all", [""; 0], move |event, _| {
            let _ = events.send((Value::from(event.is_terminal()), Some(event.run_id().to_owned())));
            async { Ok(()) }
        });
    let host = TestHost::start(plugin).await.expect("ready");
    let replayed = host.replay(&Trace::parse(&text).expect("a trace")).await.expect("played");
    assert_eq!(replayed.hook("before_tool_call"), Counts { calls: 3, quiet: 2, answered: 1, failed: 0 });
    assert_eq!(replayed.hook("session_start"), Counts { calls: 1, quiet: 1, ..Default::default() });
    assert_eq!(replayed.hook("before_message_write"), Counts { calls: 1, failed: 1, ..Default::default() });
    assert_eq!(replayed.failures, ["before_message_write: cannot"]);
    assert_eq!((replayed.unwanted, replayed.events), (1, 1));
    assert_eq!(seen.try_recv().expect("the call"), (json!("ls"), Some("r".to_owned())));
    assert_eq!(seen.try_recv().expect("the event, before it returns"), (json!(true), Some("r".to_owned())));

    for (text, told) in [
        (hook(1, "llm_input", json!({})), "line 1 of the trace: its number is 1"),
        (hook(0, "no_such_hook", json!({})), "there is no hook `no_such_hook`"),
        (line(0, json!({"hook": "llm_input", "event": {}, "more": 1})), "unknown field `more`"),
        (line(0, json!({"hook": "llm_input", "event": 1})), "its event is no object"),
        ("{}".to_owned(), "missing field `kind`"),
    ] {
        let error = Trace::parse(&text).expect_err("it is no trace").to_string();
        assert!(error.contains(told), "{error}");
    }
}
