//! What `xargs` is fed with: whether it can be seen which paths the commands before it in a pipeline name.

use crate::paths::{is_precious, seen_from};
use crate::shell::Simple;
use crate::words::{Effective, effective, is};

/// Programs that name files they are told of or find below.
const LISTERS: [&str; 10] = ["find", "fd", "fdfind", "ls", "echo", "printf", "git", "rg", "grep", "egrep"];
/// Programs that pass on some of the lines they read, unchanged.
const FILTERS: [&str; 8] = ["grep", "egrep", "fgrep", "rg", "head", "tail", "sort", "uniq"];

/// What comes out of the commands of a pipeline so far.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Feed {
    /// Nothing, or what nobody can see from the commands.
    #[default]
    Unseen,
    /// Paths that are no great loss, as far as the commands show.
    Listed,
}

impl Feed {
    /// What this one is fed with, if it is the next command.
    pub(crate) fn into(self, simple: &Simple) -> Self {
        if simple.piped && !simple.piped_from_group && !simple.redirected { self } else { Self::Unseen }
    }

    /// What comes out of the next command.
    pub(crate) fn out_of(self, simple: &Simple, directory: Option<&str>) -> Self {
        let call = effective(&simple.words);
        let directory = call.directory.or(directory);
        let listed = if simple.piped {
            self.into(simple) == Self::Listed && is(&FILTERS, call.program())
        } else {
            is(&LISTERS, call.program()) && lists_little(&call, directory) && !simple.redirected
        };
        if listed && simple.nested.is_empty() { Self::Listed } else { Self::Unseen }
    }
}

/// No path that a lister names, or looks below, is a great loss.
fn lists_little(call: &Effective, directory: Option<&str>) -> bool {
    let arguments = call.words.get(1..).unwrap_or_default();
    let plain = arguments.iter().all(|word| !word.contains(['$', '\\', '`']));
    let here = directory.is_none_or(|directory| !is_precious(directory));
    plain && here && !arguments.iter().any(|word| is_precious(&seen_from(directory, word)))
}
