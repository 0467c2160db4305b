//! Which events one subscriber gets, and in which form.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::classes::Class;
use super::event::{Event, Form};

/// One accepted subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Its id.
    pub(crate) id: String,
    /// Streams wanted; none: all that may be read.
    pub(crate) streams: BTreeSet<String>,
    /// Agents wanted; none: all.
    pub(crate) agents: BTreeSet<String>,
}

impl Subscription {
    fn wants(&self, event: &Event) -> bool {
        (self.streams.is_empty() || self.streams.contains(&event.stream))
            && (self.agents.is_empty() || self.agents.contains(&event.session.agent_id))
    }
}

/// A session or run: the runtime and its own name for it.
pub(crate) type Named = (String, String);

/// What a stream of events is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Narrowing {
    /// Sessions; none: all.
    pub(crate) sessions: BTreeSet<Named>,
    /// Runs; none: all.
    pub(crate) runs: BTreeSet<Named>,
}

/// What one subscriber gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    plugin_id: String,
    /// It may read the conversation.
    conversation: bool,
    pub(crate) subscriptions: Arc<[Subscription]>,
    narrowing: Narrowing,
}

impl Filter {
    /// All that the subscriptions of a plugin want.
    pub(crate) fn new(plugin_id: &str, conversation: bool, subscriptions: Arc<[Subscription]>) -> Self {
        Self { plugin_id: plugin_id.to_owned(), conversation, subscriptions, narrowing: Narrowing::default() }
    }

    /// The same, for some sessions and runs only.
    pub(crate) fn narrowed(&self, narrowing: Narrowing) -> Self {
        Self { narrowing, ..self.clone() }
    }

    /// In which form the subscriber gets the event, if at all.
    pub(crate) fn form(&self, event: &Event) -> Option<Form> {
        let form = match event.class {
            // What a plugin emitted is no secret to it.
            _ if self.conversation || event.plugin_id == self.plugin_id => Form::Full,
            Class::Meta => Form::Meta,
            Class::Content => return None,
        };
        let Narrowing { sessions, runs } = &self.narrowing;
        let among = |set: &BTreeSet<Named>, name: &str| {
            set.is_empty() || set.contains(&(event.runtime_id.to_string(), name.to_owned()))
        };
        let wanted = self.subscriptions.iter().any(|subscription| subscription.wants(event))
            && among(sessions, &event.session.key)
            && among(runs, &event.run_id);
        wanted.then_some(form)
    }

    /// Ids of the subscriptions that match; nothing where the plugin has only one.
    pub(crate) fn matching(&self, event: &Event) -> Vec<String> {
        if self.subscriptions.len() < 2 {
            return Vec::new();
        }
        let matching = self.subscriptions.iter().filter(|subscription| subscription.wants(event));
        matching.map(|subscription| subscription.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use outrigger_proto::types::v1 as types;

    use super::*;

    fn event(stream: &str, plugin: &str) -> Event {
        let session = types::SessionRef { key: "k".to_owned(), agent_id: "main".to_owned(), ..Default::default() };
        let event = types::AgentEvent {
            stream: stream.to_owned(),
            plugin_id: plugin.to_owned(),
            data_json: "{}".into(),
            ..Default::default()
        };
        Event::new(1, "default".into(), "r".into(), session.into(), &event)
    }

    fn subscription(id: &str, streams: &[&str], agents: &[&str]) -> Subscription {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Subscription { id: id.to_owned(), streams: set(streams), agents: set(agents) }
    }

    fn filter(conversation: bool, subscriptions: Vec<Subscription>) -> Filter {
        Filter::new("p", conversation, subscriptions.into())
    }

    #[test]
    fn content_needs_the_conversation_and_meta_is_cut() {
        let (all, some) = (filter(true, vec![Subscription::default()]), filter(false, vec![Subscription::default()]));
        for (stream, plugin, with, without) in [
            ("lifecycle", "", Some(Form::Full), Some(Form::Meta)),
            ("assistant", "", Some(Form::Full), None),
            ("q", "q", Some(Form::Full), None),
            ("p.x", "p", Some(Form::Full), Some(Form::Full)),
            // A name alone opens nothing: this one the runtime published.
            ("p.x", "", Some(Form::Full), None),
        ] {
            let event = event(stream, plugin);
            assert_eq!((all.form(&event), some.form(&event)), (with, without), "{stream} of `{plugin}`");
        }
    }

    #[test]
    fn subscriptions_narrow_by_stream_and_agent_and_are_named_where_there_are_several() {
        let both =
            filter(true, vec![subscription("a", &["tool"], &[]), subscription("b", &["tool", "item"], &["main"])]);
        assert_eq!(both.matching(&event("tool", "")), ["a", "b"]);
        assert_eq!(both.matching(&event("item", "")), ["b"]);
        assert_eq!(both.form(&event("assistant", "")), None);
        let other = filter(true, vec![subscription("a", &[], &["other"])]);
        assert_eq!((other.form(&event("tool", "")), other.matching(&event("tool", ""))), (None, Vec::new()));
        assert_eq!(filter(true, Vec::new()).form(&event("tool", "")), None, "without a subscription nothing comes");
    }

    #[test]
    fn a_stream_can_be_narrowed_to_sessions_and_runs_of_a_runtime() {
        let all = filter(true, vec![Subscription::default()]);
        let named = |runtime: &str, name: &str| BTreeSet::from([(runtime.to_owned(), name.to_owned())]);
        let session = |runtime, key| Narrowing { sessions: named(runtime, key), ..Default::default() };
        let run = |runtime, id| Narrowing { runs: named(runtime, id), ..Default::default() };
        for (narrowing, matches) in [
            (session("default", "k"), true),
            (session("default", "l"), false),
            (session("other", "k"), false),
            (run("default", "r"), true),
            (run("other", "r"), false),
        ] {
            assert_eq!(all.narrowed(narrowing.clone()).form(&event("tool", "")).is_some(), matches, "{narrowing:?}");
        }
    }
}
