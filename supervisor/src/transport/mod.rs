//! Unix sockets: where they lie, who may use them, and what passes through.
//!
//! A launch has a socket of its own in a private directory; whoever dials it must descend from the launch's keeper.
//! The control sockets lie in the runtime directory; whoever dials them must not descend from the supervisor, and
//! carries a key besides. Both are decided by the kernel's word on the peer, before a byte is read.
//!
//! | file | holds |
//! | --- | --- |
//! | `paths` | where configuration, sockets and state lie |
//! | `private_dir` | the directory and socket of one launch |
//! | `peer` | who is at the other end, by pidfds and parents |
//! | `accept` | accepting without spinning, refusing without reading |
//! | `launch_listener`, `control_listener` | the two kinds of socket |
//! | `socket` | a connection that wakes its process only for what it waits for |
//! | `meter` | the bound on bytes read from a plugin, and the hard end of a connection |
//! | `keys`, `key_file` | the secrets of the control sockets |
//! | `client` | dialling a control socket |

mod accept;
pub mod client;
pub mod control_listener;
mod key_file;
pub mod keys;
pub mod launch_listener;
pub mod meter;
pub mod paths;
pub mod peer;
pub mod private_dir;
pub mod socket;
mod sys;
#[cfg(test)]
mod testing;
