//! System calls, made directly: the keeper has no libc, and the child that it clones shares its memory, where a libc's
//! functions must not be called.

#![allow(unsafe_code)]

use core::arch::asm;
use core::ffi::CStr;
use core::ptr;

/// The kernel's error number.
pub(super) type Errno = i32;

pub(super) const EPERM: Errno = 1;
pub(super) const ESRCH: Errno = 3;
pub(super) const EINTR: Errno = 4;
pub(super) const EAGAIN: Errno = 11;

pub(super) const SIGKILL: i32 = 9;
pub(super) const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGSTOP: i32 = 19;

pub(super) const O_RDONLY: i32 = 0;
const O_WRONLY: i32 = 1;
pub(super) const O_RDWR: i32 = 2;
pub(super) const O_CLOEXEC: i32 = 0o200_0000;
#[cfg(target_arch = "x86_64")]
pub(super) const O_DIRECTORY: i32 = 0o20_0000;
#[cfg(target_arch = "aarch64")]
pub(super) const O_DIRECTORY: i32 = 0o4_0000;

pub(super) const POLLIN: i16 = 1;

pub(super) const PR_SET_PDEATHSIG: usize = 1;
pub(super) const PR_SET_DUMPABLE: usize = 4;
pub(super) const PR_SET_NAME: usize = 15;
pub(super) const PR_SET_CHILD_SUBREAPER: usize = 36;
pub(super) const PR_SET_NO_NEW_PRIVS: usize = 38;
pub(super) const PR_GET_NO_NEW_PRIVS: usize = 39;

const AT_FDCWD: usize = -100_isize as usize;
const RLIMIT_NOFILE: u64 = 7;

/// Numbers of the calls that differ between the two machines.
#[cfg(target_arch = "x86_64")]
mod nr {
    pub(super) const READ: usize = 0;
    pub(super) const WRITE: usize = 1;
    pub(super) const CLOSE: usize = 3;
    pub(super) const MMAP: usize = 9;
    pub(super) const MUNMAP: usize = 11;
    pub(super) const RT_SIGACTION: usize = 13;
    pub(super) const RT_SIGPROCMASK: usize = 14;
    pub(super) const GETPID: usize = 39;
    pub(super) const SENDTO: usize = 44;
    pub(super) const RECVFROM: usize = 45;
    pub(super) const CLONE: usize = 56;
    pub(super) const EXECVE: usize = 59;
    pub(super) const WAIT4: usize = 61;
    pub(super) const KILL: usize = 62;
    pub(super) const FCNTL: usize = 72;
    pub(super) const CHDIR: usize = 80;
    pub(super) const UMASK: usize = 95;
    pub(super) const GETPPID: usize = 110;
    pub(super) const SETSID: usize = 112;
    pub(super) const PRCTL: usize = 157;
    pub(super) const GETDENTS64: usize = 217;
    pub(super) const EXIT_GROUP: usize = 231;
    pub(super) const OPENAT: usize = 257;
    pub(super) const PPOLL: usize = 271;
    pub(super) const SIGNALFD4: usize = 289;
    pub(super) const DUP3: usize = 292;
    pub(super) const PRLIMIT64: usize = 302;
}
#[cfg(target_arch = "aarch64")]
mod nr {
    pub(super) const DUP3: usize = 24;
    pub(super) const FCNTL: usize = 25;
    pub(super) const CHDIR: usize = 49;
    pub(super) const OPENAT: usize = 56;
    pub(super) const CLOSE: usize = 57;
    pub(super) const GETDENTS64: usize = 61;
    pub(super) const READ: usize = 63;
    pub(super) const WRITE: usize = 64;
    pub(super) const PPOLL: usize = 73;
    pub(super) const SIGNALFD4: usize = 74;
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const KILL: usize = 129;
    pub(super) const RT_SIGACTION: usize = 134;
    pub(super) const RT_SIGPROCMASK: usize = 135;
    pub(super) const SETSID: usize = 157;
    pub(super) const UMASK: usize = 166;
    pub(super) const PRCTL: usize = 167;
    pub(super) const GETPID: usize = 172;
    pub(super) const GETPPID: usize = 173;
    pub(super) const SENDTO: usize = 206;
    pub(super) const RECVFROM: usize = 207;
    pub(super) const MUNMAP: usize = 215;
    pub(super) const CLONE: usize = 220;
    pub(super) const EXECVE: usize = 221;
    pub(super) const MMAP: usize = 222;
    pub(super) const WAIT4: usize = 260;
    pub(super) const PRLIMIT64: usize = 261;
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the keeper makes its system calls itself and knows x86_64 and aarch64 only");

const PIDFD_SEND_SIGNAL: usize = 424;
const PIDFD_OPEN: usize = 434;
const CLOSE_RANGE: usize = 436;
const LANDLOCK_CREATE_RULESET: usize = 444;
const LANDLOCK_RESTRICT_SELF: usize = 446;

/// # Safety
/// As the call named by `number` demands of its arguments.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the kernel clobbers rcx and r11 besides the result; the rest is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if result < 0 { Err(-result as Errno) } else { Ok(result as usize) }
}

/// # Safety
/// As the call named by `number` demands of its arguments.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the kernel changes nothing but the result; the rest is the caller's promise.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d,
            in("x4") e, in("x5") f, options(nostack));
    }
    if result < 0 { Err(-result as Errno) } else { Ok(result as usize) }
}

pub(super) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: the call takes a number and does not return.
        let _ = unsafe { call(nr::EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

pub(super) fn close(fd: i32) {
    // SAFETY: the call takes a number; the keeper owns every descriptor of its process.
    let _ = unsafe { call(nr::CLOSE, [fd as usize, 0, 0, 0, 0, 0]) };
}

pub(super) fn close_from(first: u32) -> Result<(), Errno> {
    // SAFETY: the call takes numbers; the keeper owns every descriptor of its process.
    unsafe { call(CLOSE_RANGE, [first as usize, u32::MAX as usize, 0, 0, 0, 0]) }.map(drop)
}

/// A copy of the descriptor, 3 or higher, that is closed on exec.
pub(super) fn copy_above_standard(fd: i32) -> Result<i32, Errno> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    // SAFETY: the call takes numbers.
    unsafe { call(nr::FCNTL, [fd as usize, F_DUPFD_CLOEXEC, 3, 0, 0, 0]) }.map(|fd| fd as i32)
}

/// Makes `to` the same as `from`, open across exec.
pub(super) fn replace(from: i32, to: i32) -> Result<(), Errno> {
    // SAFETY: the call takes numbers.
    unsafe { call(nr::DUP3, [from as usize, to as usize, 0, 0, 0, 0]) }.map(drop)
}

pub(super) fn open(path: &CStr, flags: i32) -> Result<i32, Errno> {
    // SAFETY: the path ends in a zero byte and lives until the call returns.
    unsafe { call(nr::OPENAT, [AT_FDCWD, path.as_ptr() as usize, flags as usize, 0, 0, 0]) }.map(|fd| fd as i32)
}

pub(super) fn read(fd: i32, into: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer is writable for its length.
    unsafe { call(nr::READ, [fd as usize, into.as_mut_ptr() as usize, into.len(), 0, 0, 0]) }
}

pub(super) fn directory_entries(fd: i32, into: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer is writable for its length.
    unsafe { call(nr::GETDENTS64, [fd as usize, into.as_mut_ptr() as usize, into.len(), 0, 0, 0]) }
}

const MSG_DONTWAIT: usize = 0x40;
const MSG_NOSIGNAL: usize = 0x4000;

/// Takes one packet without waiting. 0: the other side has ended.
pub(super) fn receive(fd: i32, into: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer is writable for its length; no address is asked for.
    unsafe { call(nr::RECVFROM, [fd as usize, into.as_mut_ptr() as usize, into.len(), MSG_DONTWAIT, 0, 0]) }
}

/// Sends one packet without waiting. A supervisor that is gone or does not read loses it.
pub(super) fn send(fd: i32, packet: &[u8]) {
    let flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    // SAFETY: the packet is readable for its length; no address is given.
    let _ = unsafe { call(nr::SENDTO, [fd as usize, packet.as_ptr() as usize, packet.len(), flags, 0, 0]) };
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct PollFd {
    /// Negative: not asked for.
    pub(super) fd: i32,
    pub(super) events: i16,
    pub(super) revents: i16,
}

/// How long a wait is where the kernel refuses to wait for descriptors, milliseconds.
const BLIND_WAIT_MS: u32 = 10;

/// Waits until one of them is ready, or for the time. `None`: without limit. What is called ready only may be: any other
/// process of this user can lower the limit of descriptors of this one, and the kernel then refuses to wait for any.
pub(super) fn poll(fds: &mut [PollFd], limit_ms: Option<u32>) {
    for fd in &mut *fds {
        fd.revents = 0;
    }
    if ppoll(fds, limit_ms).is_err() {
        let _ = ppoll(&mut [], Some(limit_ms.unwrap_or(BLIND_WAIT_MS).min(BLIND_WAIT_MS)));
        for fd in fds {
            fd.revents = if fd.fd < 0 { 0 } else { POLLIN };
        }
    }
}

fn ppoll(fds: &mut [PollFd], limit_ms: Option<u32>) -> Result<usize, Errno> {
    let time = limit_ms.map(|ms| [i64::from(ms / 1000), i64::from(ms % 1000) * 1_000_000]);
    let time = time.as_ref().map_or(ptr::null(), |time| time.as_ptr());
    // SAFETY: both point to values that live until the call returns; no mask is given.
    unsafe { call(nr::PPOLL, [fds.as_mut_ptr() as usize, fds.len(), time as usize, 0, 8, 0]) }
}

pub(super) fn set(option: usize, value: usize) -> Result<usize, Errno> {
    // SAFETY: the options used here take numbers.
    unsafe { call(nr::PRCTL, [option, value, 0, 0, 0, 0]) }
}

pub(super) fn set_name(name: &CStr) {
    // SAFETY: the name ends in a zero byte and lives until the call returns.
    let _ = unsafe { call(nr::PRCTL, [PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0, 0]) };
}

pub(super) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: the call takes numbers.
    unsafe { call(nr::KILL, [pid as usize, signal as usize, 0, 0, 0, 0]) }.map(drop)
}

pub(super) fn own_pid() -> i32 {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { call(nr::GETPID, [0; 6]) }.unwrap_or(0) as i32
}

/// 0 where the parent is in another PID namespace.
pub(super) fn parent_pid() -> i32 {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { call(nr::GETPPID, [0; 6]) }.unwrap_or(0) as i32
}

pub(super) fn new_session() -> Result<(), Errno> {
    // SAFETY: the call takes nothing.
    unsafe { call(nr::SETSID, [0; 6]) }.map(drop)
}

pub(super) fn pidfd_open(pid: i32) -> Result<i32, Errno> {
    // SAFETY: the call takes numbers.
    unsafe { call(PIDFD_OPEN, [pid as usize, 0, 0, 0, 0, 0]) }.map(|fd| fd as i32)
}

pub(super) fn pidfd_kill(fd: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: the call takes numbers; no further information is given.
    unsafe { call(PIDFD_SEND_SIGNAL, [fd as usize, signal as usize, 0, 0, 0, 0]) }.map(drop)
}

/// A descriptor that is readable when a child has changed its state. Reading it never waits.
pub(super) fn child_signals() -> Result<i32, Errno> {
    const NONBLOCK: i32 = 0o4000;
    let mask: u64 = 1 << (SIGCHLD - 1);
    // SAFETY: the mask has the size given and lives until the call returns.
    unsafe { call(nr::SIGNALFD4, [usize::MAX, &raw const mask as usize, 8, (O_CLOEXEC | NONBLOCK) as usize, 0, 0]) }
        .map(|fd| fd as i32)
}

/// Gives every signal its default effect: an ignored one would stay ignored in the plugin, and an ignored SIGCHLD would
/// lose the exit status.
pub(super) fn default_signals() {
    // The kernel's form of an action: handler, flags, restorer, mask. All zero is the default.
    let action = [0_u64; 4];
    for signal in (1..=64).filter(|signal| !matches!(*signal, SIGKILL | SIGSTOP)) {
        // SAFETY: the action lives until the call returns and names no handler.
        let _ = unsafe { call(nr::RT_SIGACTION, [signal as usize, action.as_ptr() as usize, 0, 8, 0, 0]) };
    }
}

/// Blocks the signals whose bits are set, and no other.
pub(super) fn block_signals(mask: u64) -> Result<(), Errno> {
    const SIG_SETMASK: usize = 2;
    // SAFETY: the mask has the size given and lives until the call returns.
    unsafe { call(nr::RT_SIGPROCMASK, [SIG_SETMASK, &raw const mask as usize, 0, 8, 0, 0]) }.map(drop)
}

/// A process that has ended.
pub(super) struct Ended {
    pub(super) pid: i32,
    /// As `wait` encodes it.
    pub(super) status: i32,
    pub(super) cpu_micros: u64,
    pub(super) peak_kib: u64,
}

/// Reaps a child, whichever, without waiting. `Ok(None)`: all are alive; an error: there is none.
pub(super) fn reap() -> Result<Option<Ended>, Errno> {
    const WNOHANG: usize = 1;
    const WALL: usize = 0x4000_0000;
    let mut status = 0_i32;
    // The kernel's form: user time, system time (seconds and microseconds each), peak memory, and 13 more.
    let mut usage = [0_i64; 18];
    let (to_status, to_usage) = (&raw mut status as usize, usage.as_mut_ptr() as usize);
    // SAFETY: both places are writable for the sizes that the kernel writes.
    let pid = unsafe { call(nr::WAIT4, [usize::MAX, to_status, WNOHANG | WALL, to_usage, 0, 0]) }?;
    let [user_s, user_us, system_s, system_us, peak_kib, ..] = usage.map(|value| value as u64);
    let cpu_micros =
        user_s.wrapping_add(system_s).wrapping_mul(1_000_000).wrapping_add(user_us).wrapping_add(system_us);
    Ok((pid != 0).then_some(Ended { pid: pid as i32, status, cpu_micros, peak_kib }))
}

/// The version of Landlock's interface; 0 where there is none.
pub(super) fn landlock_version() -> usize {
    const VERSION: usize = 1;
    // SAFETY: with this flag the call takes no attributes.
    unsafe { call(LANDLOCK_CREATE_RULESET, [0, 0, VERSION, 0, 0, 0]) }.unwrap_or(0)
}

/// A Landlock ruleset that restricts nothing but signals to processes outside. Closed on exec.
pub(super) fn landlock_signal_ruleset() -> Result<i32, Errno> {
    // Files, network, scopes; bit 1 of the last is LANDLOCK_SCOPE_SIGNAL.
    let attributes = [0_u64, 0, 1 << 1];
    // SAFETY: the attributes have the size given and live until the call returns.
    unsafe { call(LANDLOCK_CREATE_RULESET, [attributes.as_ptr() as usize, 24, 0, 0, 0, 0]) }.map(|fd| fd as i32)
}

/// `quiet`: refusals until the next exec are not in the kernel's audit log; known since version 7.
pub(super) fn landlock_enter(ruleset: i32, quiet: bool) -> Result<(), Errno> {
    // SAFETY: the call takes numbers.
    unsafe { call(LANDLOCK_RESTRICT_SELF, [ruleset as usize, usize::from(quiet), 0, 0, 0, 0]) }.map(drop)
}

/// Fresh zeroed memory, used for as long as the caller likes; the pointer is page aligned.
pub(super) fn map(bytes: usize) -> Result<*mut u8, Errno> {
    const READ_WRITE: usize = 3;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
    unsafe { call(nr::MMAP, [0, bytes, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0]) }.map(|at| at as *mut u8)
}

/// Gives back memory from [`map`].
///
/// # Safety
/// Nothing may use it any more.
pub(super) unsafe fn unmap(at: *mut u8, bytes: usize) {
    // SAFETY: promised by the caller.
    let _ = unsafe { call(nr::MUNMAP, [at as usize, bytes, 0, 0, 0, 0]) };
}

pub(super) fn enter_directory(path: *const u8) -> Result<(), Errno> {
    // SAFETY: the kernel reads a text that ends in a zero byte, and answers EFAULT where it cannot be read.
    unsafe { call(nr::CHDIR, [path as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// Moves this process into a control group, by its `cgroup.procs`.
pub(super) fn enter_group(procs: *const u8) -> Result<(), Errno> {
    let flags = (O_WRONLY | O_CLOEXEC) as usize;
    // SAFETY: the kernel reads a text that ends in a zero byte, and answers EFAULT where it cannot be read.
    let fd = unsafe { call(nr::OPENAT, [AT_FDCWD, procs as usize, flags, 0, 0, 0]) }?;
    // 0 is whoever writes.
    // SAFETY: the byte lives until the call returns.
    let written = unsafe { call(nr::WRITE, [fd, b"0".as_ptr() as usize, 1, 0, 0, 0]) };
    close(fd as i32);
    written.map(drop)
}

pub(super) fn umask(mask: u32) {
    // SAFETY: the call takes a number.
    let _ = unsafe { call(nr::UMASK, [mask as usize, 0, 0, 0, 0, 0]) };
}

pub(super) fn set_limit(resource: u64, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = [soft, hard];
    // SAFETY: the limit lives until the call returns; the old one is not asked for.
    unsafe { call(nr::PRLIMIT64, [0, resource as usize, limit.as_ptr() as usize, 0, 0, 0]) }.map(drop)
}

/// The number from which on no new descriptor can be opened.
pub(super) fn descriptor_limit() -> u64 {
    let mut limit = [0_u64; 2];
    // SAFETY: the place is writable for the size that the kernel writes.
    let asked = unsafe { call(nr::PRLIMIT64, [0, RLIMIT_NOFILE as usize, 0, limit.as_mut_ptr() as usize, 0, 0]) };
    if asked.is_ok() { limit[0] } else { 1024 }
}

/// Executes a program; returns only where that fails. All three are the kernel's to read: it answers EFAULT where it
/// cannot.
pub(super) fn execute(program: *const u8, arguments: *const *const u8, variables: *const *const u8) -> Errno {
    // SAFETY: the kernel copies what it reads; nothing of this process is written.
    match unsafe { call(nr::EXECVE, [program as usize, arguments as usize, variables as usize, 0, 0, 0]) } {
        Ok(_) => 0,
        Err(errno) => errno,
    }
}

const CLONE_VM: usize = 0x100;
const CLONE_VFORK: usize = 0x4000;

/// Makes a child that shares this memory, runs `begin(argument)` on the stack given, and holds up the caller until it
/// has executed a program or exited.
///
/// # Safety
/// `stack_top` is 16-byte aligned and the end of memory that nothing else uses meanwhile; `begin` neither returns nor
/// unwinds, and `argument` is valid for it.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone_child(
    stack_top: *mut u8,
    begin: extern "C" fn(*mut u8) -> !,
    argument: *mut u8,
) -> Result<i32, Errno> {
    let result: isize;
    // SAFETY: the child leaves this block only into `begin`, with its own stack; the parent sees an ordinary call.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") nr::CLONE => result,
            in("rdi") CLONE_VM | CLONE_VFORK | SIGCHLD as usize,
            in("rsi") stack_top,
            in("rdx") 0_usize,
            in("r10") 0_usize,
            in("r8") 0_usize,
            in("r12") argument,
            in("r13") begin,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    if result < 0 { Err(-result as Errno) } else { Ok(result as i32) }
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone_child(
    stack_top: *mut u8,
    begin: extern "C" fn(*mut u8) -> !,
    argument: *mut u8,
) -> Result<i32, Errno> {
    let result: isize;
    // SAFETY: the child leaves this block only into `begin`, with its own stack; the parent sees an ordinary call.
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") nr::CLONE,
            inlateout("x0") CLONE_VM | CLONE_VFORK | SIGCHLD as usize => result,
            in("x1") stack_top,
            in("x2") 0_usize,
            in("x3") 0_usize,
            in("x4") 0_usize,
            in("x20") argument,
            in("x21") begin,
        );
    }
    if result < 0 { Err(-result as Errno) } else { Ok(result as i32) }
}
