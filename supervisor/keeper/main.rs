//! The keeper as a static program of its own, without standard library or libc. `build.rs` compiles it.

#![no_std]
#![no_main]
#![no_builtins]
#![allow(dead_code)]

#[path = "mod.rs"]
mod keeper;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {run}", "ud2", run = sym begin);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(".globl _start", "_start:", "mov x29, xzr", "bl {run}", "brk #1", run = sym begin);

extern "C" fn begin() -> ! {
    keeper::run()
}

/// No code of the keeper means to panic. Ending by a trap is the safe answer: the supervisor then cleans up.
#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: an instruction that ends the process, blocked signals or not.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            core::arch::asm!("ud2");
            #[cfg(target_arch = "aarch64")]
            core::arch::asm!("brk #1");
        }
    }
}

// What the compiler takes for granted where there is no libc. `no_builtins` keeps it from turning these loops into
// calls of themselves.

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    let mut at = 0;
    while at < count {
        // SAFETY: the caller promises `count` valid bytes on both sides.
        unsafe { *to.add(at) = *from.add(at) };
        at += 1;
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize) <= (from as usize) {
        // SAFETY: as promised by the caller; copying upwards never reads what it has written.
        return unsafe { memcpy(to, from, count) };
    }
    let mut at = count;
    while at > 0 {
        at -= 1;
        // SAFETY: the caller promises `count` valid bytes on both sides; downwards nothing is read after its overwrite.
        unsafe { *to.add(at) = *from.add(at) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    let mut at = 0;
    while at < count {
        // SAFETY: the caller promises `count` writable bytes.
        unsafe { *to.add(at) = byte as u8 };
        at += 1;
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    let mut at = 0;
    while at < count {
        // SAFETY: the caller promises `count` readable bytes on both sides.
        let (a, b) = unsafe { (*left.add(at), *right.add(at)) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        at += 1;
    }
    0
}

/// Named by the unwinding tables of the prebuilt core library; nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
