//! Tool calls: policies, hooks, approvals and blocks.

use super::samples::*;
use super::*;

const EVENT: &str = "{\"toolName\":\"exec\",\"params\":{\"command\":\"ls\",\"cwd\":\"/\"}}";

fn decide(answers: Vec<(bool, Kind)>) -> Merged {
    merged_with(Hook::BeforeToolCall, EVENT, answers)
}

fn event(params: &str) -> Option<Bytes> {
    Some(json(&format!("{{\"toolName\":\"exec\",\"params\":{params}}}")))
}

/// What the approval becomes when it is checked.
fn asked(title: &str) -> types::ApprovalRequest {
    types::ApprovalRequest {
        severity: types::ApprovalSeverity::Warning as i32,
        timeout: Some(prost_types::Duration { seconds: 120, nanos: 0 }),
        allowed: vec![1, 2, 3],
        ..approval(title)
    }
}

fn asking(params: &str, title: &str) -> Kind {
    proceed(types::Proceed { params_json: json(params), approval: Some(approval(title)) })
}

#[test]
fn hooks_merge_key_by_key_over_the_events_parameters() {
    let whole = decide(vec![(false, params("{\"cwd\":1,\"a\":1}")), (false, params("")), (false, params("{\"a\":2}"))]);
    let all = "{\"command\":\"ls\",\"cwd\":1,\"a\":2}";
    assert_eq!(whole.result, Some(wrap(params(all))));
    assert_eq!(whole.event, event(all));
    assert_eq!((whole.changed_by, whole.asked_by, whole.stopped), (vec![0, 2], None, false));
}

#[test]
fn policies_replace_parameters_wholesale_and_hooks_merge_over_what_they_leave() {
    let answers = vec![(true, params("{\"a\":1}")), (true, params("{\"b\":1}")), (false, params("{\"c\":1}"))];
    let whole = decide(answers);
    assert_eq!(whole.result, Some(wrap(params("{\"b\":1,\"c\":1}"))));
    assert_eq!(whole.changed_by, [0, 1, 2]);
}

#[test]
fn policies_are_chained_and_hooks_see_what_they_left() {
    let mut merge = Merge::new(Hook::BeforeToolCall, json(EVENT), MAX_PAYLOAD);
    let seen = |merge: &mut Merge, position| Some(merge.event(position).expect("an object"));
    assert_eq!(merge.add(0, true, wrap(params("{\"a\":1}"))), Ok(Flow::GoOn));
    assert_eq!(seen(&mut merge, 1), event("{\"a\":1}"));
    assert_eq!(merge.add(1, true, wrap(params("{\"b\":1}"))), Ok(Flow::GoOn));
    assert_eq!(seen(&mut merge, 1), event("{\"a\":1}"));
    assert_eq!(seen(&mut merge, 2), event("{\"b\":1}"));
    assert_eq!(merge.add(2, false, wrap(params("{\"c\":1}"))), Ok(Flow::GoOn));
    assert_eq!(seen(&mut merge, 3), event("{\"b\":1}"));
    assert_eq!(merge.event(0), Ok(json(EVENT)));
}

/// Parameters in the answer that asks, and those before it, are what is approved.
#[test]
fn the_first_request_freezes_parameters() {
    let answers = [
        (true, params("{\"a\":1}")),
        (true, asking("{\"b\":1}", "first")),
        (true, asking("{\"c\":1}", "second")),
        (false, params("{\"d\":1}")),
    ];
    let mut merge = Merge::new(Hook::BeforeToolCall, json(EVENT), MAX_PAYLOAD);
    for (position, (policy, answer)) in answers.into_iter().enumerate() {
        let checked = check(Hook::BeforeToolCall, policy, wrap(answer), "h").expect("valid");
        assert_eq!(merge.add(position, policy, checked.result), Ok(Flow::GoOn));
    }
    assert_eq!(merge.event(3).ok(), event("{\"b\":1}"));
    let whole = merge.finish();
    let approved = types::Proceed { params_json: json("{\"b\":1}"), approval: Some(asked("first")) };
    assert_eq!(whole.result, Some(wrap(proceed(approved))));
    assert_eq!(whole.event, event("{\"b\":1}"));
    assert_eq!((whole.asked_by, whole.changed_by), (Some(1), vec![0, 1]));
    let ignored = "params_json has no effect: an earlier handler asked for an approval of what there was";
    let notices: Vec<_> = whole.notices.iter().map(|(position, text)| (*position, text.as_str())).collect();
    assert_eq!(notices, [(2, ignored), (2, "approval has no effect: an earlier handler asked for one"), (3, ignored)]);
}

#[test]
fn an_approval_of_what_nobody_changed_has_no_parameters() {
    let whole = decide(vec![(false, asking("", "ask"))]);
    let approved = types::Proceed { params_json: Bytes::new(), approval: Some(asked("ask")) };
    assert_eq!(whole.result, Some(wrap(proceed(approved))));
    assert_eq!((whole.event, whole.asked_by), (None, Some(0)));
}

#[test]
fn a_later_block_beats_an_earlier_request() {
    let whole = decide(vec![
        (true, asking("{}", "ask")),
        (false, params("{}")),
        (false, tool_block("no")),
        (false, tool_block("never")),
    ]);
    assert_eq!(whole.result, Some(wrap(tool_block("no"))));
    assert_eq!((whole.decided_by, whole.stopped, whole.asked_by), (Some(2), true, None));
    assert_eq!((whole.event, whole.changed_by), (None, Vec::new()));
}

#[test]
fn the_call_ends_at_a_block_wherever_it_arrives() {
    let mut merge = Merge::new(Hook::BeforeToolCall, json(EVENT), MAX_PAYLOAD);
    assert_eq!(merge.add(5, false, wrap(params("{\"a\":1}"))), Ok(Flow::GoOn));
    assert_eq!(merge.add(3, false, wrap(tool_block("three"))), Ok(Flow::Stop));
    assert_eq!(merge.add(4, false, wrap(tool_block("four"))), Ok(Flow::Stop));
    assert_eq!(merge.add(1, false, wrap(params("{\"b\":1}"))), Ok(Flow::GoOn));
    let mut earlier = Merge::new(Hook::BeforeToolCall, json(EVENT), MAX_PAYLOAD);
    assert_eq!(earlier.add(3, false, wrap(tool_block("three"))), Ok(Flow::Stop));
    assert_eq!(earlier.add(2, false, wrap(tool_block("two"))), Ok(Flow::Stop));
    assert_eq!(merge.finish().decided_by, Some(3));
    assert_eq!(earlier.finish().decided_by, Some(2));
}

/// Nobody knows what would run, so nothing does.
#[test]
fn parameters_that_make_the_call_too_long_stop_it() {
    let most = EVENT.len() + 10;
    let mut merge = Merge::new(Hook::BeforeToolCall, json(EVENT), most);
    for (position, answer) in ["{\"a\":1}", "{\"bcd\":1}", "{\"c\":1}"].into_iter().enumerate() {
        assert_eq!(merge.add(position, false, wrap(params(answer))), Ok(Flow::GoOn));
    }
    let whole = merge.finish();
    let bytes = EVENT.len() + 14;
    let why = format!("made the call {bytes} bytes long, at most {most} can be passed on");
    assert_eq!(whole.failed, [(1, why.clone())]);
    assert_eq!((whole.result, whole.decided_by, whole.stopped), (None, Some(1), true));
    // A policy's replace all others, so it shows at once.
    let mut merge = Merge::new(Hook::BeforeToolCall, json(EVENT), most);
    let exact = format!("{{\"a\":\"{}\"}}", "x".repeat(most - (EVENT.len() - 26) - 8));
    assert_eq!(merge.add(0, true, wrap(params(&exact))), Ok(Flow::GoOn));
    assert_eq!(merge.event(1).map(|event| event.len()), Ok(most));
    assert!(merge.add(1, true, wrap(params(&exact.replace("xx", "xxx")))).is_err());
}

#[test]
fn an_event_without_parameters_gets_them() {
    let whole = merged_with(Hook::BeforeToolCall, "{}", vec![(false, params("{\"a\":1}"))]);
    assert_eq!(whole.event, Some(json("{\"params\":{\"a\":1}}")));
    // It was said to be an object; where it is none, nothing panics and nothing runs.
    let mut merge = Merge::new(Hook::BeforeToolCall, json("[]"), MAX_PAYLOAD);
    assert_eq!(merge.add(0, false, wrap(params("{\"a\":1}"))), Ok(Flow::GoOn));
    assert!(merge.add(1, true, wrap(params("{\"a\":1}"))).is_err());
    let whole = merge.finish();
    assert_eq!((whole.stopped, whole.result), (true, None));
}
