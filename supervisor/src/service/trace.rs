//! Trace context on its way from runtimes to plugins: only where the operator wants it, and only what is one.

use outrigger_proto::types::v1::TraceContext;

/// Characters of a `traceparent` of version 00; a later version may append to it.
const PARENT: usize = 55;
/// Characters of any `traceparent`.
const MAX_PARENT: usize = 128;
/// Characters of a `tracestate`.
const MAX_STATE: usize = 512;

/// What of a trace goes on. `None`: nothing.
pub(crate) fn passed_on(trace: Option<TraceContext>, wanted: bool) -> Option<TraceContext> {
    let mut trace = trace.filter(|trace| wanted && is_parent(&trace.traceparent))?;
    let printable = |byte: u8| (b' '..=b'~').contains(&byte);
    if trace.tracestate.len() > MAX_STATE || !trace.tracestate.bytes().all(printable) {
        trace.tracestate.clear();
    }
    Some(trace)
}

/// `VERSION-TRACE-PARENT-FLAGS` in lower-case hex; neither trace nor parent is all zeros.
fn is_parent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut next = |length: usize| {
        let is_hex =
            |part: &&str| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        parts.next().filter(is_hex)
    };
    let (version, trace, parent, flags) = (next(2), next(32), next(16), next(2));
    let is_some = |id: Option<&str>| id.is_some_and(|id| id.bytes().any(|byte| byte != b'0'));
    let ends = text.len() == PARENT || (version != Some("00") && text.len() <= MAX_PARENT);
    version.is_some_and(|version| version != "ff")
        && is_some(trace)
        && is_some(parent)
        && flags.is_some()
        && ends
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(parent: &str, state: &str) -> Option<TraceContext> {
        Some(TraceContext { traceparent: parent.to_owned(), tracestate: state.to_owned() })
    }

    #[test]
    fn only_what_is_wanted_and_a_trace_goes_on() {
        assert_eq!(passed_on(trace(GOOD, "a=1"), true), trace(GOOD, "a=1"));
        assert_eq!(passed_on(trace(GOOD, "a=1"), false), None);
        assert_eq!(passed_on(None, true), None);
        let later = format!("01{}-more", &GOOD[2..]);
        assert_eq!(passed_on(trace(&later, ""), true), trace(&later, ""));
        let none = [
            String::new(),
            GOOD.to_uppercase(),
            GOOD[1..].to_owned(),
            format!("{GOOD}-more"),
            format!("ff{}", &GOOD[2..]),
            format!("01{}-{}", &GOOD[2..], "x".repeat(MAX_PARENT)),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01".to_owned(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01".to_owned(),
        ];
        for parent in none {
            assert_eq!(passed_on(trace(&parent, "a=1"), true), None, "{parent}");
        }
        assert_eq!(passed_on(trace(GOOD, &"a".repeat(MAX_STATE + 1)), true), trace(GOOD, ""));
        assert_eq!(passed_on(trace(GOOD, &"a".repeat(MAX_STATE)), true), trace(GOOD, &"a".repeat(MAX_STATE)));
        assert_eq!(passed_on(trace(GOOD, "a\nb"), true), trace(GOOD, ""));
    }
}
