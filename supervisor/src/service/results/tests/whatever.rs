//! Whatever comes in: nothing panics, and what comes out is within the bounds.

use proptest::prelude::*;
use prost::Message as _;

use super::samples::{KINDS, any_answer, plain};
use super::*;

/// Every hook takes answers of its kind, and of no other; a policy takes those to tool calls.
#[test]
fn hooks_take_their_kind_and_refuse_every_other() {
    for row in CATALOGUE {
        let unset = check(row.hook, false, types::HookResult { result: None }, "h");
        assert_eq!(unset, Err("a result without a kind that is known here".to_owned()), "{}", row.name);
        for kind in KINDS {
            let result = check(row.hook, false, wrap(plain(kind)), "h");
            if kind == row.result {
                assert_eq!(result, Ok(Checked { result: wrap(plain(kind)), notices: Vec::new() }), "{}", row.name);
            } else {
                let words = match row.result {
                    ResultKind::Nothing => "a result, where there is nothing to answer",
                    _ => "a result of another hook",
                };
                assert_eq!(result, Err(words.to_owned()), "{} with {kind:?}", row.name);
            }
            let of_a_policy = check(row.hook, true, wrap(plain(kind)), "h").is_ok();
            assert_eq!(of_a_policy, kind == ResultKind::ToolCall, "{} with {kind:?}", row.name);
        }
    }
}

/// Checks an answer for every hook, and what must hold of what counts.
fn endure(result: &types::HookResult) {
    for row in CATALOGUE {
        for policy in [false, true] {
            let once = match check(row.hook, policy, result.clone(), "handler") {
                Ok(once) => once,
                Err(why) => {
                    assert!(!why.is_empty() && why.len() < 1_000, "{why}");
                    continue;
                }
            };
            assert!(once.notices.len() <= 8 && once.notices.iter().all(|notice| notice.len() <= 2_000));
            // What a default fills in: a reason, a timeout, answers offered.
            assert!(once.result.encoded_len() <= result.encoded_len() + 200);
            assert_eq!(denies(&once.result), denies(result), "{}", row.name);
            let twice = check(row.hook, policy, once.result.clone(), "handler");
            assert_eq!(twice, Ok(Checked { result: once.result.clone(), notices: Vec::new() }), "{}", row.name);
            let narrowed = once.clone().with_tool_authority();
            assert!(narrowed.notices.len() <= 8);
            if policy && row.hook != Hook::BeforeToolCall {
                continue;
            }
            let mut merge = Merge::new(row.hook, Bytes::from_static(b"{\"params\":{}}"), MAX_PAYLOAD);
            let stopped = denies(&once.result);
            merge.add(3, policy, once.result).expect("it fits");
            let _ = merge.event(4);
            assert_eq!(merge.finish().stopped, stopped, "{}", row.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn answers_are_the_same_when_checked_twice(
        kind in prop::sample::select(KINDS.to_vec()).prop_flat_map(any_answer),
    ) {
        endure(&wrap(kind));
    }

    #[test]
    fn damaged_answers_do_no_harm(
        kind in prop::sample::select(KINDS.to_vec()).prop_flat_map(any_answer),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = wrap(kind).encode_to_vec();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Ok(result) = types::HookResult::decode(bytes.as_slice()) {
            endure(&result);
        }
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(result) = types::HookResult::decode(bytes.as_slice()) {
            endure(&result);
        }
    }
}
