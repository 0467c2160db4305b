//! One file for each command, or for those that are alike.

pub(super) mod call;
pub(super) mod check;
pub(super) mod control;
pub(super) mod events;
pub(super) mod guards;
pub(super) mod hooks;
pub(super) mod init;
pub(super) mod inspect;
pub(super) mod key;
pub(super) mod logs;
pub(super) mod rights;
pub(super) mod shutdown;
pub(super) mod status;
pub(super) mod stop;
pub(super) mod top;
pub(super) mod why;
