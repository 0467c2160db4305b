//! Write an Outrigger plugin in Rust.
