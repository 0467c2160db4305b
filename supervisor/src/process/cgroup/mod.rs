//! Limits of trees that the kernel keeps, by control groups (cgroup v2), where it lets this process make them.
//!
//! ```text
//! BASE                        ours to divide: the hierarchy's root, or a group that was given to the supervisor
//! ├── supervisor              where the supervisor runs, with its keepers; none in the root
//! └── outrigger-KEY           one for each state directory
//!     └── PLUGIN.GENERATION   a launch with its limits; its child enters it before its program
//! ```
//!
//! A group that gives controllers to groups below has no processes of its own; hence the first of the leaves.

mod files;
mod group;
mod groups;
mod place;
#[cfg(test)]
mod tests;

pub(super) use group::Kept;
pub use groups::Groups;
pub use place::step_aside;
