//! The wire contract of Outrigger: messages, clients and server traits generated from the `.proto` files beside this
//! crate. The files hold the documentation; this crate has no behaviour.
//!
//! The code in `gen/` is made by `cargo run -p outrigger-proto-generate` and checked in, so that building needs neither
//! a protobuf compiler nor a build script. CI checks that it is fresh.
//!
//! Each side turns on the packages it speaks: `plugin`, `runtime`, `admin`. `outrigger.types.v1` is always there.

/// Shared names: ids, handles, limits, errors, hooks, events.
pub mod types {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
    pub mod v1 {
        include!("gen/outrigger.types.v1.rs");
    }
}

/// The conversation between the supervisor and one plugin process, and what a plugin can ask of its host.
#[cfg(feature = "plugin")]
pub mod plugin {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
    pub mod v1 {
        include!("gen/outrigger.plugin.v1.rs");
    }
}

/// What an agent runtime asks of the supervisor.
#[cfg(feature = "runtime")]
pub mod runtime {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
    pub mod v1 {
        include!("gen/outrigger.runtime.v1.rs");
    }
}

/// The operator's side.
#[cfg(feature = "admin")]
pub mod admin {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
    pub mod v1 {
        include!("gen/outrigger.admin.v1.rs");
    }
}

/// The encoded `google.protobuf.FileDescriptorSet` of all packages, for server reflection.
#[cfg(feature = "descriptor")]
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.binpb");
