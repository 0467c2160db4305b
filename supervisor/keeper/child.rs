//! From the clone to the plugin's program. Runs on a stack of its own in the keeper's memory, while the keeper waits.

#![allow(unsafe_code)]

use super::plan::{Memory, Plan};
use super::sys::{self, Errno};
use super::wire::step;

/// A child whose program runs.
pub(super) struct Started {
    pub(super) pid: i32,
    /// It is in a signal scope of its own.
    pub(super) scoped: bool,
    /// It is in the control group of the plan.
    pub(super) grouped: bool,
}

/// No child, or one that ended before its exec: where and why. `made`: there is one to reap.
pub(super) struct Failed {
    pub(super) step: u64,
    pub(super) errno: Errno,
    pub(super) made: bool,
}

struct Order<'a> {
    plan: &'a Plan,
    ruleset: Option<i32>,
    keeper: i32,
    scoped: bool,
    grouped: bool,
    failed: Option<(u64, Errno)>,
}

/// Clones the child and waits for its exec. `memory` is the plan's, for the stack.
pub(super) fn start(plan: &Plan, memory: &Memory, ruleset: Option<i32>) -> Result<Started, Failed> {
    let mut order = Order { plan, ruleset, keeper: sys::own_pid(), scoped: false, grouped: false, failed: None };
    let place = &raw mut order;
    // SAFETY: the stack's end is page aligned and nobody else uses it; `begin` exits; `order` outlives the child's use
    // of it, as the call returns only after exec or exit.
    let cloned = unsafe { sys::clone_child(memory.stack_top(), begin, place.cast()) };
    // SAFETY: the child shares this memory but no longer runs in it. Volatile, as it wrote unseen by the compiler.
    let Order { scoped, grouped, failed, .. } = unsafe { place.read_volatile() };
    match (cloned, failed) {
        (Ok(pid), None) => Ok(Started { pid, scoped, grouped }),
        (Ok(_), Some((step, errno))) => Err(Failed { step, errno, made: true }),
        (Err(errno), _) => Err(Failed { step: step::CLONE, errno, made: false }),
    }
}

extern "C" fn begin(order: *mut u8) -> ! {
    // SAFETY: `start` passes its order, and waits until this process no longer uses it.
    let order = unsafe { &mut *order.cast::<Order<'_>>() };
    order.failed = Some(prepare_and_execute(order));
    sys::exit(127)
}

/// Returns only on failure.
fn prepare_and_execute(order: &mut Order<'_>) -> (u64, Errno) {
    if let Err(errno) = sys::new_session() {
        return (step::CHILD, errno);
    }
    // The signal covers a keeper that dies from here on; the question after it, one that died before.
    if let Err(errno) = sys::set(sys::PR_SET_PDEATHSIG, sys::SIGKILL as usize) {
        return (step::CHILD, errno);
    }
    if sys::parent_pid() != order.keeper {
        return (step::CHILD, sys::ESRCH);
    }
    // Without it the supervisor goes on sampling: no reason not to start.
    order.grouped = order.plan.group.is_some_and(|group| sys::enter_group(group).is_ok());
    sys::umask(order.plan.umask);
    for [resource, soft, hard] in order.plan.limits() {
        if let Err(errno) = sys::set_limit(*resource, *soft, *hard) {
            return (step::LIMIT, errno);
        }
    }
    order.scoped = order.ruleset.is_some_and(|ruleset| sys::landlock_enter(ruleset, false).is_ok());
    if let Err(errno) = sys::enter_directory(order.plan.directory) {
        return (step::DIRECTORY, errno);
    }
    if let Err(errno) = sys::block_signals(0) {
        return (step::CHILD, errno);
    }
    (step::EXEC, sys::execute(order.plan.program, order.plan.arguments, order.plan.variables))
}
