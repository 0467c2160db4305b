//! The order of arrival never counts.

use proptest::prelude::*;

use super::samples::{answered, any_answer};
use super::*;

/// A call of some hook: answers that passed the check, each with its position, and an order of arrival.
fn call() -> impl Strategy<Value = (Hook, Vec<(bool, types::HookResult)>, Vec<usize>)> {
    prop::sample::select(answered()).prop_flat_map(|hook| {
        let answers = prop::collection::vec(any_answer(hook.row().result), 0..8);
        (Just(hook), answers, 0..8usize).prop_flat_map(|(hook, answers, policies)| {
            let is_policy = |position| hook == Hook::BeforeToolCall && position < policies;
            let answers: Vec<_> = answers
                .into_iter()
                .filter_map(|answer| check(hook, false, wrap(answer), "handler").ok())
                .enumerate()
                .map(|(position, checked)| (is_policy(position), checked.result))
                .collect();
            let arrivals: Vec<usize> = (0..answers.len()).collect();
            (Just(hook), Just(answers), Just(arrivals).prop_shuffle())
        })
    })
}

const EVENT: &[u8] = b"{\"a\":1,\"params\":{\"a\":0,\"z\":0},\"payload\":{},\"message\":{}}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn arrival_changes_nothing((hook, answers, arrivals) in call(), room in prop::sample::select(vec![60usize, 90, MAX_PAYLOAD])) {
        // One after the other, until one ends the call; what does not fit is a failure.
        let mut in_order = Merge::new(hook, Bytes::from_static(EVENT), room);
        let mut refused = Vec::new();
        let mut asked = 0;
        for (position, (policy, result)) in answers.iter().enumerate() {
            asked = position + 1;
            match in_order.add(position, *policy, result.clone()) {
                Ok(Flow::GoOn) => {}
                Ok(Flow::Stop) => break,
                Err(_) => refused.push(position),
            }
        }
        // All at once.
        let mut at_once = Merge::new(hook, Bytes::from_static(EVENT), room);
        let mut refused_at_once = Vec::new();
        for position in arrivals {
            let (policy, result) = &answers[position];
            if at_once.add(position, *policy, result.clone()).is_err() && position < asked {
                refused_at_once.push(position);
            }
        }
        refused_at_once.sort_unstable();
        prop_assert_eq!(refused, refused_at_once);
        for position in 0..asked {
            prop_assert_eq!(in_order.event(position), at_once.event(position));
        }
        prop_assert_eq!(in_order.finish(), at_once.finish());
    }

    /// What is merged is an answer itself: it has the shape and the bounds of a single one, but for joined texts.
    #[test]
    fn a_merged_answer_is_an_answer((hook, answers, _) in call()) {
        let mut merge = Merge::new(hook, Bytes::from_static(EVENT), MAX_PAYLOAD);
        for (position, (policy, result)) in answers.into_iter().enumerate() {
            merge.add(position, policy, result).expect("it fits");
        }
        let merged = merge.finish();
        if let Some(result) = merged.result
            && hook.row().result != ResultKind::Prompt
        {
            let checked = check(hook, false, result.clone(), "handler");
            prop_assert_eq!(checked, Ok(Checked { result, notices: Vec::new() }));
        }
        prop_assert!(merged.notices.len() <= 2 * 8 && merged.failed.is_empty());
    }
}
