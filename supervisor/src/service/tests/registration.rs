//! What a plugin offers: a verdict for everything, and nothing that can harm the supervisor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::VerdictReason as Reason;
use outrigger_proto::types::v1::{self as types, ItemKind};
use proptest::prelude::*;
use prost::Message as _;

use crate::domain::guard::Tools;
use crate::domain::hook::Hook;
use crate::domain::rights::{Rights, Tier};
use crate::domain::spec::HookSetting;
use crate::service::registration::{Registration, check};
use crate::service::testing::{guard, hook, register, spec};

fn checked(hooks: Vec<wire::HookRegistration>) -> Registration {
    check(&register(hooks), &spec("p")).expect("nothing must be accepted")
}

fn reasons(registration: &Registration) -> Vec<Reason> {
    registration.verdicts.iter().map(wire::Verdict::reason).collect()
}

fn options(options: wire::HandlerOptions) -> wire::HookRegistration {
    wire::HookRegistration { options: Some(options), ..hook("h", &[]) }
}

fn wish(seconds: i64, nanos: i32) -> wire::HookRegistration {
    let timeout = Some(prost_types::Duration { seconds, nanos });
    options(wire::HandlerOptions { timeout, ..Default::default() })
}

#[test]
fn every_kind_of_item_has_a_verdict_in_the_contracts_order() {
    let register = wire::Register {
        hooks: vec![hook("a", &[])],
        tool_policies: vec![hook("b", &[])],
        states: vec![wire::StateRegistration { namespace: "c".to_owned(), ..Default::default() }],
        transitions: vec![wire::TransitionRegistration { action: "d".to_owned(), ..Default::default() }],
        tools: vec![
            wire::ToolRegistration {
                spec: Some(types::ToolSpec { name: "e".to_owned(), ..Default::default() }),
                ..Default::default()
            },
            wire::ToolRegistration {
                metadata: Some(types::ToolMetadata { tool_name: "f".to_owned(), ..Default::default() }),
                ..Default::default()
            },
        ],
        commands: vec![wire::CommandRegistration {
            command: Some(types::CommandSpec { name: "g".to_owned(), ..Default::default() }),
            ..Default::default()
        }],
        actions: vec![wire::ActionRegistration {
            action: Some(types::ActionSpec { action_id: "h".to_owned(), ..Default::default() }),
            ..Default::default()
        }],
        descriptors: vec![wire::DescriptorRegistration {
            descriptor: Some(types::DescriptorSpec { descriptor_id: "i".to_owned(), ..Default::default() }),
            ..Default::default()
        }],
        subscriptions: vec![wire::SubscriptionRegistration { subscription_id: "j".to_owned(), ..Default::default() }],
        jobs: vec![wire::JobRegistration { job_id: "k".to_owned(), ..Default::default() }],
        lifecycles: vec![wire::LifecycleRegistration { lifecycle_id: "l".to_owned(), ..Default::default() }],
        ..Default::default()
    };
    let registration = check(&register, &spec("p")).expect("nothing must be accepted");
    let told: Vec<_> =
        registration.verdicts.iter().map(|verdict| (verdict.kind(), verdict.id.as_str(), verdict.reason())).collect();
    let refused = Reason::NotServed;
    assert_eq!(
        told,
        [
            (ItemKind::Hook, "a", Reason::Accepted),
            (ItemKind::ToolPolicy, "b", Reason::FieldInvalid),
            (ItemKind::State, "c", refused),
            (ItemKind::Transition, "d", refused),
            (ItemKind::Tool, "e", Reason::NotGranted),
            (ItemKind::ToolMetadata, "f", Reason::NotInManifest),
            (ItemKind::Command, "g", refused),
            (ItemKind::Action, "h", refused),
            (ItemKind::Descriptor, "i", refused),
            (ItemKind::Subscription, "j", Reason::NotGranted),
            (ItemKind::Job, "k", refused),
            (ItemKind::Lifecycle, "l", refused),
        ]
    );
}

#[test]
fn a_subscription_needs_the_rights_to_what_it_names() {
    use crate::domain::rights::{Rights, Scope, Tier};
    let verdict = |scopes: &[Scope], subscriptions: Vec<wire::SubscriptionRegistration>| {
        let mut spec = spec("p");
        let granted = scopes.iter().map(|scope| (*scope, Default::default())).collect();
        spec.rights = Rights::new(Tier::Community, scopes.iter().copied().collect(), &granted, Default::default());
        let registration = check(&wire::Register { subscriptions, ..Default::default() }, &spec).expect("none must be");
        let verdict = registration.verdicts.last().cloned().expect("each has one");
        (verdict.reason(), verdict.scope, verdict.field, registration.subscriptions.len())
    };
    let of = |id: &str, streams: &[&str]| wire::SubscriptionRegistration {
        subscription_id: id.to_owned(),
        streams: streams.iter().map(|stream| (*stream).to_owned()).collect(),
        ..Default::default()
    };
    let none = String::new;
    let read = [Scope::EventsRead];
    let accepted = |count| (Reason::Accepted, none(), none(), count);
    assert_eq!(verdict(&read, vec![of("a", &[])]), accepted(1));
    assert_eq!(verdict(&read, vec![of("a", &["lifecycle", "usage", "p", "p.x"])]), accepted(1));
    let content = verdict(&read, vec![of("a", &["lifecycle", "assistant"])]);
    assert_eq!(content, (Reason::NotGranted, "hooks.conversation".to_owned(), none(), 0));
    assert_eq!(verdict(&[Scope::EventsRead, Scope::HooksConversation], vec![of("a", &["assistant"])]), accepted(1));
    assert_eq!(verdict(&[], vec![of("a", &[])]), (Reason::NotGranted, "events.read".to_owned(), none(), 0));
    assert_eq!(verdict(&read, vec![of("a", &[]), of("a", &[])]), (Reason::Taken, none(), none(), 1));
    let many: Vec<String> = (0..65).map(|number| format!("p.{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(verdict(&read, vec![of("a", &many[..64])]), accepted(1));
    for (wrong, field) in [(of("a", &many), "streams"), (of("a", &[" x"]), "streams"), (of("", &[]), "subscription_id")]
    {
        assert_eq!(verdict(&read, vec![wrong]), (Reason::FieldInvalid, none(), field.to_owned(), 0));
    }
}

#[test]
fn a_guard_must_be_declared_with_these_tools_or_more() {
    let narrow = |tools: &[&str], declared: Vec<&[&str]>| {
        let mut spec = spec("p");
        spec.guards = declared.into_iter().map(guard).collect();
        let registration = check(&register(vec![hook("h", tools)]), &spec).expect("nothing must be accepted");
        (registration.verdicts[0].reason(), registration.verdicts[0].remedy.clone())
    };
    assert_eq!(narrow(&["a"], vec![&["a", "b"]]).0, Reason::Accepted);
    assert_eq!(narrow(&["a", "b"], vec![&["a"], &["b"]]).0, Reason::Accepted);
    assert_eq!(narrow(&["a"], vec![&[]]).0, Reason::Accepted);
    let (reason, remedy) = narrow(&["a", "c"], vec![&["a", "b"]]);
    assert_eq!(reason, Reason::GuardNotDeclared);
    assert_eq!(remedy, r#"add to plugin.toml: [[guard]] hook = "before_tool_call" tools = ["a", "c"]"#);
    assert_eq!(narrow(&[], vec![&["a"]]).0, Reason::GuardNotDeclared);
    assert_eq!(narrow(&["a"], vec![]).0, Reason::GuardNotDeclared);
}

#[test]
fn what_is_declared_and_not_granted_is_refused() {
    let mut spec = spec("p");
    spec.rights = Rights::new(Tier::Community, BTreeSet::new(), &BTreeMap::new(), BTreeSet::new());
    let registration = check(&register(vec![hook("h", &[])]), &spec).expect("nothing must be accepted");
    let verdict = &registration.verdicts[0];
    assert_eq!((verdict.reason(), verdict.scope.as_str()), (Reason::NotGranted, "hooks.tools"));
    assert_eq!(registration.unserved, [], "it guards nothing");
}

#[test]
fn what_is_declared_and_not_served_is_told() {
    let mut spec = spec("p");
    spec.guards = vec![guard(&["a", "b", "c"]), guard(&["d"])];
    let registration = check(&register(vec![hook("h", &["b"])]), &spec).expect("nothing must be accepted");
    assert_eq!(registration.unserved, [guard(&["a", "c"]), guard(&["d"])]);
}

#[test]
fn fields_have_bounds() {
    let many: Vec<String> = (0..257).map(|n| format!("t{n}")).collect();
    let names = |count: usize| many[..count].iter().map(String::as_str).collect::<Vec<_>>();
    let long = |characters: usize| "ü".repeat(characters);
    let described = |characters| wire::HookRegistration { description: long(characters), ..hook("h", &[]) };
    let concurrency = |max_concurrency| options(wire::HandlerOptions { max_concurrency, ..Default::default() });
    let right = [
        hook(&long(128), &[]),
        hook("h", &names(256)),
        described(512),
        concurrency(64),
        wish(0, 1_000_000),
        wish(600, 0),
    ];
    for hook in right {
        assert_eq!(reasons(&checked(vec![hook.clone()])), [Reason::Accepted], "{hook:?}");
    }
    let wrong = [
        (hook("", &[]), "handler_id"),
        (hook("a\nb", &[]), "handler_id"),
        (hook(&long(129), &[]), "handler_id"),
        (hook("h", &names(257)), "tool_names"),
        (hook("h", &["Write"]), "tool_names"),
        (hook("h", &["bash"]), "tool_names"),
        (hook("h", &["*"]), "tool_names"),
        (hook("h", &[""]), "tool_names"),
        (described(513), "description"),
        (concurrency(65), "options.max_concurrency"),
        (concurrency(u32::MAX), "options.max_concurrency"),
        (wish(0, 999_999), "options.timeout"),
        (wish(600, 1), "options.timeout"),
        (wish(-1, 0), "options.timeout"),
        (wish(i64::MAX, i32::MAX), "options.timeout"),
    ];
    for (hook, field) in wrong {
        let verdict = checked(vec![hook.clone()]).verdicts[0].clone();
        assert_eq!((verdict.reason(), verdict.field.as_str()), (Reason::FieldInvalid, field), "{hook:?}");
    }
    let namespaces = wire::HandlerOptions { state_namespaces: vec!["n".to_owned()], ..Default::default() };
    assert_eq!(reasons(&checked(vec![options(namespaces)])), [Reason::ReferenceUnknown]);
}

#[test]
fn unknown_hooks_and_those_not_granted_are_told_apart() {
    let of = |number| wire::HookRegistration { hook: number, ..hook("h", &[]) };
    for number in [0, -1, 44, i32::MAX, i32::MIN] {
        assert_eq!(reasons(&checked(vec![of(number)])), [Reason::HookUnknown], "{number}");
    }
    assert_eq!(reasons(&checked(vec![of(types::Hook::AgentEnd as i32)])), [Reason::NotGranted]);
    assert_eq!(reasons(&checked(vec![of(types::Hook::GatewayStart as i32)])), [Reason::Accepted]);
}

#[test]
fn the_first_of_two_with_one_id_wins() {
    let registration = checked(vec![hook("h", &["a"]), hook("h", &["b"]), hook("i", &["c"])]);
    assert_eq!(reasons(&registration), [Reason::Accepted, Reason::Taken, Reason::Accepted]);
    assert_eq!(registration.handlers[0].tools, Tools::from_list(["a".to_owned()]));
}

#[test]
fn at_most_256_items_are_taken() {
    let registration = checked((0..300).map(|n| hook(&format!("h{n}"), &["a"])).collect());
    assert_eq!(registration.handlers.len(), 256);
    assert_eq!(reasons(&registration)[256..], [Reason::TooMany; 44]);
}

#[test]
fn at_most_256_kib_are_taken() {
    let of_size = |bytes: usize| {
        let mut register = register((0..200).map(|n| hook(&format!("h{n}"), &[])).collect());
        let mut rest = bytes - register.encoded_len();
        let mut states = Vec::new();
        while rest > 0 {
            // Length and key of the item and of its text, two bytes each beyond 127.
            let text = (rest - 8).min(16_000);
            states.push(wire::StateRegistration { namespace: "x".repeat(text), ..Default::default() });
            register.states.clone_from(&states);
            rest = bytes.saturating_sub(register.encoded_len());
            if rest < 16 {
                break;
            }
        }
        while register.encoded_len() < bytes {
            register.states[0].namespace.push('x');
        }
        while register.encoded_len() > bytes {
            register.states[0].namespace.pop();
        }
        register
    };
    let at = of_size(262_144);
    assert_eq!(at.encoded_len(), 262_144);
    assert_eq!(check(&at, &spec("p")).expect("sound").handlers.len(), 200);
    let over = of_size(262_145);
    let registration = check(&over, &spec("p")).expect("sound");
    assert!(registration.handlers.is_empty());
    assert!(reasons(&registration).iter().all(|reason| *reason == Reason::TooMany));
}

#[test]
fn more_than_1024_items_are_no_registration() {
    let of = |count| wire::Register {
        lifecycles: vec![wire::LifecycleRegistration::default(); count],
        ..Default::default()
    };
    assert_eq!(check(&of(1024), &spec("p")).expect("each has its verdict").verdicts.len(), 1024);
    let refused = check(&of(1025), &spec("p")).expect_err("they are too many");
    assert_eq!(refused.0.reason(), Reason::TooMany);
}

#[test]
fn places_have_their_defaults_and_bounds() {
    let max = |serial, max_in_flight, max_concurrency| {
        let hooks = vec![options(wire::HandlerOptions { max_concurrency, ..Default::default() })];
        let registration = check(&wire::Register { serial, max_in_flight, hooks, ..Default::default() }, &spec("p"));
        let registration = registration.expect("sound");
        (registration.max_in_flight, registration.handlers[0].max_concurrency)
    };
    assert_eq!(max(false, 0, 0), (16, 16));
    assert_eq!(max(false, 4, 0), (4, 4));
    assert_eq!(max(false, 64, 0), (64, 16));
    assert_eq!(max(false, u32::MAX, 64), (64, 64));
    assert_eq!(max(true, 64, 64), (1, 1));
}

#[test]
fn the_operator_decides_on_time_before_the_plugin() {
    let mut spec = spec("p");
    let timeout = |spec: &_| check(&register(vec![wish(3, 0)]), spec).expect("sound").handlers[0].timeout;
    assert_eq!(timeout(&spec), Duration::from_secs(3));
    spec.timeout = Some(Duration::from_secs(2));
    assert_eq!(timeout(&spec), Duration::from_secs(2));
    let setting = HookSetting { timeout: Some(Duration::from_secs(1)), ..HookSetting::default() };
    spec.hooks.insert(Hook::BeforeToolCall, setting);
    assert_eq!(timeout(&spec), Duration::from_secs(1));
    assert_eq!(checked(vec![hook("h", &[])]).handlers[0].timeout, Duration::from_secs(15));
}

/// Texts with everything that has a meaning somewhere.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("exec".to_owned()),
        Just("h".to_owned()),
        "[a-z*.:\u{202e}\\n ü]{0,8}",
        Just("x".repeat(200)),
    ]
}

fn any_options() -> impl Strategy<Value = Option<wire::HandlerOptions>> {
    let timeout = prop::option::of((any::<i64>(), any::<i32>()));
    let options = (any::<bool>(), timeout, any::<u32>(), prop::collection::vec(text(), 0..3));
    prop::option::of(options.prop_map(|(must_accept, timeout, max_concurrency, state_namespaces)| {
        let timeout = timeout.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
        wire::HandlerOptions { must_accept, timeout, max_concurrency, state_namespaces }
    }))
}

fn any_hook() -> impl Strategy<Value = wire::HookRegistration> {
    let hook = prop_oneof![Just(24), any::<i32>(), 0..50i32];
    (text(), hook, any::<i32>(), prop::collection::vec(text(), 0..4), text(), any_options()).prop_map(
        |(handler_id, hook, priority, tool_names, description, options)| wire::HookRegistration {
            handler_id,
            hook,
            priority,
            tool_names,
            description,
            options,
            ..Default::default()
        },
    )
}

proptest! {
    /// Whatever comes, nothing panics, everything has its verdict, and what is served is declared.
    #[test]
    fn no_registration_does_harm(
        hooks in prop::collection::vec(any_hook(), 0..20),
        tool_policies in prop::collection::vec(any_hook(), 0..3),
        namespaces in prop::collection::vec((text(), any_options()), 0..3),
        max_in_flight in any::<u32>(),
        serial in any::<bool>(),
        tools in prop::collection::vec("[a-e]", 0..3),
    ) {
        let states = namespaces.into_iter().map(|(namespace, options)| wire::StateRegistration {
            namespace,
            options,
            ..Default::default()
        });
        let register = wire::Register { max_in_flight, serial, hooks, tool_policies, states: states.collect(), ..Default::default() };
        let mut spec = spec("p");
        spec.guards = vec![guard(&tools.iter().map(String::as_str).collect::<Vec<_>>())];
        match check(&register, &spec) {
            Err(refused) => prop_assert_ne!(refused.0.reason(), Reason::Accepted),
            Ok(registration) => {
                let items = register.hooks.len() + register.tool_policies.len() + register.states.len();
                prop_assert_eq!(registration.verdicts.len(), items);
                prop_assert!((1..=64).contains(&registration.max_in_flight));
                for handler in &registration.handlers {
                    prop_assert!(handler.hook != Hook::BeforeToolCall || spec.guards[0].tools.covers(&handler.tools));
                    prop_assert!((1..=registration.max_in_flight).contains(&handler.max_concurrency));
                    prop_assert!(handler.timeout >= Duration::from_millis(1) && handler.timeout <= Duration::from_secs(600));
                }
                for verdict in &registration.verdicts {
                    prop_assert!(verdict.message.len() <= 2000 && verdict.id.len() <= 512);
                }
            }
        }
    }

    /// Bytes that happen to be a message do no harm either.
    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(register) = wire::Register::decode(bytes.as_slice()) {
            let _ = check(&register, &spec("p"));
        }
    }
}
