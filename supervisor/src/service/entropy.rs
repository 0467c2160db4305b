//! Random bits of the kernel.

/// Fills a buffer. Where the kernel has no randomness nothing secret can be made, and nothing may start: it aborts.
fn fill(buffer: &mut [u8]) {
    if let Err(error) = getrandom::fill(buffer) {
        tracing::error!("the kernel gives no random bits: {error}");
        std::process::abort();
    }
}

/// So many random bytes in hexadecimal digits.
pub(crate) fn hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 random bits.
pub(crate) fn bits() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
