//! What the fixture plugins share.
