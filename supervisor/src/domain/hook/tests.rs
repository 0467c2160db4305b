use std::path::{Path, PathBuf};

use super::*;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn rows_stand_at_their_numbers() {
    for (index, row) in CATALOGUE.iter().enumerate() {
        assert_eq!(row.hook as usize, index + 1, "{}", row.name);
        assert_eq!(Hook::from_name(row.name), Some(row.hook));
        assert_eq!(Hook::from_number(row.hook as i32), Some(row.hook));
        assert_eq!(row.hook.row().name, row.name);
    }
    assert_eq!(CATALOGUE.len(), 43);
    assert_eq!(Hook::from_number(0), None);
    assert_eq!(Hook::from_number(44), None);
}

#[test]
fn three_hooks_fail_closed() {
    let closed: Vec<_> =
        CATALOGUE.iter().filter(|row| row.failure == FailurePolicy::Closed).map(|row| row.name).collect();
    assert_eq!(closed, ["before_agent_run", "before_tool_call", "before_install"]);
}

/// Kind, answer and merge rule of every hook fit together: none is left unclassified.
#[test]
fn every_hook_is_classified() {
    for row in CATALOGUE {
        let fits = match row.kind {
            Kind::Observe => row.result == ResultKind::Nothing,
            Kind::Gate => matches!(row.result, ResultKind::Gate | ResultKind::ToolCall),
            Kind::Claim => row.result == ResultKind::Claim,
            Kind::Chained => row.result == ResultKind::Message,
            Kind::Evaluate => row.result == ResultKind::Evaluation,
            Kind::Modify => matches!(
                row.result,
                ResultKind::Prompt
                    | ResultKind::Message
                    | ResultKind::Finalize
                    | ResultKind::Model
                    | ResultKind::ExecEnvironment
                    | ResultKind::SubagentSpawn
                    | ResultKind::SubagentDelivery
            ),
        };
        assert!(fits, "{}: {:?} with {:?}", row.name, row.kind, row.result);
        assert_eq!(row.kind == Kind::Observe, row.merge == COUNTED, "{}", row.name);
        assert_eq!(row.kind == Kind::Gate, row.failure == FailurePolicy::Closed, "{}", row.name);
        assert!(row.merge.ends_with('.') && !row.about.is_empty(), "{}", row.name);
        assert!(!row.timeout.is_zero() && row.timeout <= Duration::from_secs(600), "{}", row.name);
    }
}

/// The comment of each value in the wire contract, in one line, with its number.
fn comments() -> Vec<(String, i32)> {
    let contract = std::fs::read_to_string(checkout().join("proto/outrigger/types/v1/hook.proto"))
        .expect("the wire contract is in the checkout");
    let values = contract.split("enum Hook {").nth(1).and_then(|rest| rest.split("\n}").next()).expect("the enum");
    let mut found = Vec::new();
    let mut comment = String::new();
    for line in values.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("//") {
            Some(text) => comment += text,
            None => {
                let number = line.split(['=', ';']).nth(1).and_then(|number| number.trim().parse().ok());
                found.push((std::mem::take(&mut comment), number.expect("a value has a number")));
            }
        }
    }
    found
}

/// The catalogue says what the comments of the wire contract say.
#[test]
fn the_catalogue_is_that_of_the_wire_contract() {
    let comments = comments();
    assert_eq!(comments.len(), CATALOGUE.len() + 1);
    for (comment, number) in comments.iter().skip(1) {
        let row = Hook::from_number(*number).expect("the catalogue has it").row();
        let mut parts = comment.split(';').map(str::trim);
        let first = parts.next().expect("a kind");
        assert!(first.starts_with(kind(row.kind)), "{}: {first}", row.name);
        assert_eq!(first.split('`').nth(1), row.result.member(), "{}", row.name);
        let parts: Vec<_> = parts.collect();
        assert_eq!(parts.contains(&"matcher allowed"), row.by_tool, "{}", row.name);
        let right = match row.access {
            Access::Meta => "meta",
            Access::Conversation => "conv",
            Access::Prompt => "prompt",
            Access::Tools => "tools",
            Access::Messages => "messages",
            Access::TrustedPolicy => "trusted",
        };
        assert!(parts.contains(&right), "{}: {comment}", row.name);
        let timeout = format!("{} s", row.timeout.as_secs());
        assert!(parts.iter().any(|part| part.split(',').next() == Some(&timeout)), "{}: {comment}", row.name);
        let failure = if row.failure == FailurePolicy::Closed { "closed" } else { "open" };
        assert!(parts.iter().any(|part| part.starts_with(failure)), "{}: {comment}", row.name);
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Modify => "Modify",
        Kind::Chained => "Chained",
        Kind::Claim => "Claim",
        Kind::Gate => "Gate",
        Kind::Observe => "Observe",
        Kind::Evaluate => "Evaluate",
    }
}

/// `docs/hooks.md`, as the catalogue has it.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page += "\n## The hooks\n\n";
    page += "| hook | when | kind | answer | right | time | a failure | by tool |\n";
    page += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for row in CATALOGUE {
        let answer = row.result.member().map_or("–".to_owned(), |member| format!("`{member}`"));
        let right = row.access.scope().map_or("–".to_owned(), |scope| format!("`{}`", scope.name()));
        let failure = if row.failure == FailurePolicy::Closed { "blocks" } else { "is passed over" };
        page += &format!(
            "| `{}` | {} | {} | {answer} | {right} | {} s | {failure} | {} |\n",
            row.name,
            row.about,
            kind(row.kind).to_lowercase(),
            row.timeout.as_secs(),
            if row.by_tool { "yes" } else { "–" },
        );
    }
    page += "\n## How answers become one\n\n| hook | answer | of several |\n| --- | --- | --- |\n";
    for row in CATALOGUE {
        if let Some(member) = row.result.member() {
            page += &format!("| `{}` | `{member}` | {} |\n", row.name, row.merge);
        }
    }
    page += BOUNDS;
    page
}

const INTRODUCTION: &str = "\
# Hooks

The points of an agent runtime at which plugins are called. This page is made of the table that the supervisor itself
reads, `supervisor/src/domain/hook.rs`; refresh it with `OUTRIGGER_UPDATE=1 cargo test -p outrigger the_page_is_fresh`.
What each field of an answer takes is in the comments of [hook.proto](../proto/outrigger/types/v1/hook.proto).

Handlers are ordered: trusted policies (of bundled plugins first), then priority, highest first, then the plugin's
position in `outrigger.toml`, then the place in its registration. When an answer arrived never counts.

| kind | handlers are called | each sees |
| --- | --- | --- |
| modify | one after the other | the event as it came |
| chained | one after the other | what the one before made of it |
| claim | one after the other, until one takes it | the event as it came |
| gate | one after the other, until one blocks | the event as it came; a tool call as the policies left it |
| observe | all at once | the event as it came |
| evaluate | all at once | the event as it came |

Handlers that say they have no side effects may be called together; their answers count in the same order.

*Right* is the scope a plugin needs, – none. *Time* is what one call may take where neither operator nor plugin say
otherwise. *By tool*: a registration may name the tools it is for. Every handler may also have no opinion; one of an
observed hook can answer nothing else but that it is done.
";

const BOUNDS: &str = "
## What an answer must not be

An answer of another kind than the hook takes, or of none, is a failure of the handler, and so is a text or JSON over its
bound. What the hook has no use for is left out, and the plugin is told by a Notice.

| what | becomes of it |
| --- | --- |
| a changed tool call or message that makes the event longer than 3 MiB with its context | a failure of the handler that made it so |
| texts for a prompt beyond 3 MiB together | a failure of the handler that made them so; its list of tools still counts |
| a 129th variable, or variables beyond 3 MiB together | a failure of the handler that made them so |
| findings after the 256th of all, findings or details beyond 3 MiB together | left out; a block or veto counts all the same |
| retries after a handler's eighth, after the 64th of all, or beyond 1 MiB together | left out |
| a trust marker in a message or reply: a member `trusted`, or `trusted` and then a capital letter or `_`, at any depth | taken out |
| a variable of a loader, path, proxy, TLS library, shell or language runtime | taken out |
| a list of tools with an id that is none | an empty list: no tools |
";

#[test]
fn the_page_is_fresh() {
    let path = checkout().join("docs/hooks.md");
    let page = page();
    if std::env::var_os("OUTRIGGER_UPDATE").is_some() {
        std::fs::write(&path, &page).expect("write the page");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == page,
        "docs/hooks.md is not what the catalogue says; \
         refresh it with `OUTRIGGER_UPDATE=1 cargo test -p outrigger the_page_is_fresh`"
    );
}
