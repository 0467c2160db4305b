//! What a plugin without `hooks.conversation` sees of the conversation through hooks: nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::runtime::v1 as runtime;
use outrigger_proto::types::v1 as types;
use tokio_util::task::TaskTracker;

use super::bench::{Bench, able, call, handler, one, says, with_rights};
use crate::domain::hook::{Access, CATALOGUE, Hook};
use crate::domain::rights::{Scope, Tier};
use crate::service::dispatch::{CONVERSATION, Call};
use crate::service::events::Bus;
use crate::service::invocation;
use crate::service::registration;
use crate::service::runs::Runs;
use crate::service::runtimes::{Runtime, Runtimes};
use crate::service::testing::{allow, within};

fn runs() -> Arc<Runs> {
    Runs::new(Bus::new(1), TaskTracker::new())
}

const MARK: &str = "what-was-said";

/// A plugin with every right a community plugin can have but that one.
fn stranger(id: &str) -> crate::domain::spec::PluginSpec {
    let scopes: Vec<Scope> = Scope::all().filter(|scope| *scope != Scope::HooksConversation).collect();
    with_rights(id, Tier::Community, &scopes)
}

/// Every member that the hooks' events have with text of the conversation; the first character of some is an escape.
fn event() -> String {
    let said = |name: &str| format!(r#""{name}":{{"text":"{MARK}"}}"#);
    let mut members: Vec<String> = CONVERSATION.iter().map(|name| said(name)).collect();
    members.extend(
        CONVERSATION.iter().map(|name| said(&format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]))),
    );
    // The escaped ones alone, as a name may stand only once.
    let half = members.len() / 2;
    let chosen: Vec<String> =
        (0..half).map(|at| if at % 2 == 0 { members[at].clone() } else { members[half + at].clone() }).collect();
    format!(
        r#"{{"params":{{"command":"ls"}},"payload":{{}},"message":{{}},"sessionKey":"s","reason":"idle",{}}}"#,
        chosen.join(",")
    )
}

/// The same as it comes from a runtime: checked, so that what it holds is known.
async fn checked(hook: Hook, runtime: &Runtime) -> Call {
    let row = hook.row();
    let mut asked = call(row).asked;
    asked.event_json = Bytes::from(event());
    asked.context_json = Bytes::from(format!(r#"{{"channel":"c","prompt":"{MARK}","messages":["{MARK}"]}}"#));
    asked.messages_json = Bytes::from(format!(r#"[{{"role":"user","content":"{MARK}"}}]"#));
    invocation::check(asked, hook, runtime, &runs()).await.map_err(tonic::Status::from).expect("a sound call")
}

/// Q11: over the whole catalogue.
#[tokio::test(start_paused = true)]
async fn q11_without_the_right_no_hook_shows_the_conversation() {
    within(async {
        let runtime = Runtimes::default().of("default");
        let mut shown = BTreeSet::new();
        for row in CATALOGUE {
            let mut bench = Bench::new();
            let with = |id: &str| one(handler(row.hook, id));
            // Those for whom the right is needed cannot have a handler at all.
            if row.access == Access::Conversation {
                let refused = registration::check(&with("h"), &stranger("p")).expect("nothing must be accepted");
                let verdict = &refused.verdicts[0];
                assert_eq!(verdict.reason(), wire::VerdictReason::NotGranted, "{}", row.name);
                assert_eq!(verdict.scope, "hooks.conversation", "{}", row.name);
            } else {
                bench.sit(&stranger("p"), 0, 1, &with("h"), says(allow()));
            }
            bench.sit(&able("reader"), 1, 1, &with("h"), says(allow()));
            for target in ["p", "reader"] {
                let mut call = checked(row.hook, &runtime).await;
                if row.hook == Hook::InboundClaim {
                    call.asked.target_plugin_id = target.to_owned();
                }
                bench.call(call).await;
            }
            for question in bench.asked() {
                let text = question.text();
                if question.plugin == "p" {
                    assert!(!text.contains(MARK), "{}: {text}", row.name);
                    shown.insert(row.hook);
                    let members = question.event();
                    let members = members.as_object().expect("an object").keys();
                    // Of a hook for everybody only what is on its list.
                    if row.access == Access::Meta {
                        let known = |name: &String| row.meta().contains(&name.as_str());
                        assert!(members.clone().all(known), "{}: {text}", row.name);
                    } else {
                        assert!(members.clone().any(|name| name == "sessionKey"), "{}: {text}", row.name);
                    }
                } else {
                    assert!(text.contains(MARK), "{} shows a reader nothing", row.name);
                    assert!(question.call.messages_json.is_empty(), "{}: it did not ask for messages", row.name);
                }
            }
        }
        let expected = CATALOGUE.iter().filter(|row| row.access != Access::Conversation).map(|row| row.hook).collect();
        assert_eq!(shown, expected, "each of them was asked");
    })
    .await;
}

/// What is on the list of a hook for everybody is of the kinds that say nothing.
#[test]
fn lists_for_everybody_are_of_those_hooks_alone() {
    for row in CATALOGUE {
        assert_eq!(!row.meta().is_empty(), row.access == Access::Meta, "{}", row.name);
        for name in row.meta() {
            assert!(!CONVERSATION.contains(name), "{}: {name}", row.name);
            assert!(!["label", "text", "content", "body", "error", "summary"].contains(name), "{}: {name}", row.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_go_to_who_wants_them_and_may_have_them() {
    within(async {
        let runtime = Runtimes::default().of("default");
        for row in CATALOGUE {
            let wants = wire::HookRegistration { wants_messages: true, ..handler(row.hook, "h") };
            let refused = registration::check(&one(wants.clone()), &stranger("p")).expect("nothing must be accepted");
            let verdict = &refused.verdicts[0];
            assert_eq!(verdict.reason(), wire::VerdictReason::NotGranted, "{}", row.name);
            assert_eq!(verdict.scope, "hooks.conversation", "{}", row.name);
            assert!(verdict.message.contains("tier `community`"), "{}", verdict.message);
            assert!(verdict.remedy.contains("hooks.conversation"), "{}", verdict.remedy);
            let mut bench = Bench::new();
            bench.sit(&able("reader"), 0, 1, &one(wants), says(allow()));
            let mut call = checked(row.hook, &runtime).await;
            if row.hook == Hook::InboundClaim {
                call.asked.target_plugin_id = "reader".to_owned();
            }
            bench.call(call).await;
            let asked = bench.asked();
            assert_eq!(asked.len(), 1, "{}", row.name);
            assert!(!asked[0].call.messages_json.is_empty(), "{}", row.name);
        }
    })
    .await;
}

/// The next generation's rights count, though the call began before.
#[tokio::test(start_paused = true)]
async fn a_call_passed_on_to_another_generation_shows_what_that_one_may_see() {
    within(async {
        let row = Hook::BeforePromptBuild.row();
        let runtime = Runtimes::default().of("default");
        let mut bench = Bench::new();
        let old = bench.sit(&able("p"), 0, 1, &one(handler(row.hook, "h")), says(allow()));
        let mut other = Bench::new();
        let new = other.sit(&stranger("p"), 0, 2, &one(handler(row.hook, "h")), says(allow()));
        // The snapshot still has the old generation, as for a call that began just before the change.
        old.stop_accepting();
        bench.views["p"].serve(Some(new));
        bench.call(checked(row.hook, &runtime).await).await;
        let asked = other.asked();
        assert_eq!(asked.len(), 1);
        assert!(!asked[0].text().contains(MARK), "{}", asked[0].text());
    })
    .await;
}

/// Triggers and kinds of dispatch that are not known or not stated pass no filter.
#[tokio::test(start_paused = true)]
async fn filters_pass_what_they_name() {
    within(async {
        let filtered = [Hook::BeforeAgentReply, Hook::ReplyDispatch];
        for hook in filtered {
            let mut bench = Bench::new();
            let by = |values: &[i32]| match hook {
                Hook::BeforeAgentReply => wire::HookRegistration { triggers: values.to_vec(), ..handler(hook, "h") },
                _ => wire::HookRegistration { dispatch_kinds: values.to_vec(), ..handler(hook, "h") },
            };
            bench.sit(&able("all"), 0, 1, &one(by(&[])), says(allow()));
            bench.sit(&able("one"), 1, 1, &one(by(&[1])), says(allow()));
            bench.sit(&able("odd"), 2, 1, &one(by(&[0, 99])), says(allow()));
            let cases: [(i32, &[&str]); 4] = [(0, &["all"]), (1, &["all", "one"]), (2, &["all"]), (99, &["all"])];
            for (value, expected) in cases {
                let mut call = call(hook.row());
                (call.asked.trigger, call.asked.dispatch_kind) = (value, value);
                bench.call(call).await;
                assert_eq!(bench.order(), expected, "{hook:?}: {value}");
            }
        }
        // Every hook that has no filter refuses one.
        for row in CATALOGUE {
            let item = wire::HookRegistration { triggers: vec![types::Trigger::User as i32], ..handler(row.hook, "h") };
            let checked = registration::check(&one(item), &able("p")).expect("nothing must be accepted");
            assert_eq!(checked.handlers.len(), usize::from(row.hook == Hook::BeforeAgentReply), "{}", row.name);
        }
    })
    .await;
}

/// A target is for claims; it cannot narrow who guards a tool call.
#[tokio::test(start_paused = true)]
async fn a_target_does_not_narrow_the_guards() {
    within(async {
        let runtime = Runtimes::default().of("default");
        for row in CATALOGUE {
            let asked = Box::new(runtime::HookInvocation { target_plugin_id: "b".to_owned(), ..*call(row).asked });
            let is_claim = row.kind == crate::domain::hook::Kind::Claim;
            assert_eq!(invocation::check(asked, row.hook, &runtime, &runs()).await.is_ok(), is_claim, "{}", row.name);
        }
        let mut bench = Bench::new();
        let register = one(handler(Hook::BeforeToolCall, "h"));
        bench.sit(&able("a"), 0, 1, &register, says(crate::service::testing::block("no")));
        bench.sit(&able("b"), 1, 1, &register, says(allow()));
        let mut narrowed = call(Hook::BeforeToolCall.row());
        narrowed.asked.target_plugin_id = "b".to_owned();
        assert_eq!(bench.call(narrowed).await.reason, "a: no");
    })
    .await;
}
