//! What holds for a launch, in words.

use super::keeper::wire::held;
use super::orphans;
use super::program::Form;
use crate::domain::launch::Protection;

/// Turns the keeper's report into what `inspect` shows.
pub(super) fn list(held: u64, form: &Form) -> Vec<Protection> {
    let has = |bit| held & bit != 0;
    let scope = has(held::SCOPE) && has(held::CHILD_SCOPE);
    let protection = |name, applied, detail: &str| Protection { name, applied, detail: detail.to_owned() };
    vec![
        protection(
            "no-new-privs",
            has(held::NO_NEW_PRIVS),
            if has(held::NO_NEW_PRIVS) { "read back from the kernel" } else { "the kernel refused it" },
        ),
        protection(
            "landlock-signal-scope",
            scope,
            match (has(held::SCOPE), has(held::CHILD_SCOPE)) {
                (true, true) => {
                    "the plugin cannot signal or trace keeper, supervisor or other plugins, nor open their memory"
                }
                (true, false) => {
                    "the keeper is in a scope, but the plugin could not enter its own: it can attack its keeper"
                }
                (false, true) => "the plugin is in a scope, but that the keeper's own holds could not be shown",
                (false, false) => {
                    "the kernel has none (Landlock 6, Linux 6.12): a plugin of the same user can attack its keeper"
                }
            },
        ),
        protection(
            "tree-kill",
            has(held::SCOPE) && has(held::SUBREAPER),
            if has(held::SCOPE) {
                "atomic, within the keeper's signal scope"
            } else if has(held::SWEEP) {
                "best effort, by walking the tree: processes that fork without end may outrun it"
            } else {
                "best effort, the process group only: the kernel lists no children"
            },
        ),
        protection(
            "descriptors",
            has(held::DESCRIPTORS),
            if has(held::DESCRIPTORS) {
                "all but standard input, output and error closed before the plugin's program"
            } else {
                "closed one by one up to the limit: the kernel cannot close a range"
            },
        ),
        match form {
            Form::MemoryFile => protection("keeper", true, "the static program, from a sealed memory file"),
            Form::OwnProgram { reason } => {
                let detail = format!("the supervisor's own program, slower and larger: {reason}");
                Protection { name: "keeper", applied: false, detail }
            }
        },
        protection(
            "keeper-loss",
            orphans::is_subreaper(),
            if orphans::is_subreaper() {
                "what a lost keeper leaves comes to the supervisor, which kills it"
            } else {
                "best effort: what a lost keeper leaves is found by its environment"
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_proved_is_called_applied() {
        let applied = |held| -> Vec<&'static str> {
            let list = list(held, &Form::OwnProgram { reason: "r".to_owned() });
            list.into_iter().filter(|protection| protection.applied).map(|protection| protection.name).collect()
        };
        // Whether this process is a subreaper is another test's business.
        let strip = |mut names: Vec<&'static str>| {
            names.retain(|name| *name != "keeper-loss");
            names
        };
        assert_eq!(strip(applied(0)), Vec::<&str>::new());
        assert_eq!(strip(applied(held::SCOPE)), Vec::<&str>::new());
        assert_eq!(strip(applied(held::SCOPE | held::SUBREAPER)), ["tree-kill"]);
        assert_eq!(strip(applied(!held::SWEEP)), ["no-new-privs", "landlock-signal-scope", "tree-kill", "descriptors"]);
    }
}
