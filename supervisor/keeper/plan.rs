//! What to start, as the supervisor sends it: received into memory of its own and indexed in place.

#![allow(unsafe_code)]

use core::{ptr, slice};

use super::keep::Life;
use super::sys;
use super::wire::{HEAD_BYTES, Head, LIMIT_BYTES, LIMITS_MAX, PLAN_MAX, STRINGS_MAX, step};

/// Bytes of the child's stack: it makes a dozen system calls.
const STACK_BYTES: usize = 32 * 1024;
/// Bytes for pointers to all strings and the two ends of their lists, in whole pages of any size.
const POINTER_BYTES: usize = ((STRINGS_MAX + 2) * size_of::<*const u8>()).next_multiple_of(64 * 1024);
const BYTES: usize = PLAN_MAX + POINTER_BYTES + STACK_BYTES;

/// Memory that is needed until the child has executed: plan, pointers, the child's stack. Only what is touched costs.
pub(super) struct Memory {
    at: *mut u8,
}

impl Memory {
    pub(super) fn new() -> Result<Self, sys::Errno> {
        Ok(Self { at: sys::map(BYTES)? })
    }

    /// End of the child's stack, aligned to a page.
    pub(super) fn stack_top(&self) -> *mut u8 {
        // SAFETY: one past the end of the mapping.
        unsafe { self.at.add(BYTES) }
    }

    fn plan(&mut self) -> &mut [u8] {
        // SAFETY: the first part of the mapping; zeroed or written bytes, borrowed with `self`.
        unsafe { slice::from_raw_parts_mut(self.at, PLAN_MAX) }
    }

    /// Plan and pointers side by side.
    fn parts(&mut self) -> (&[u8], &mut [*const u8]) {
        // SAFETY: two parts of the mapping that do not overlap; a zeroed pointer is a null pointer.
        unsafe {
            (
                slice::from_raw_parts(self.at, PLAN_MAX),
                slice::from_raw_parts_mut(self.at.add(PLAN_MAX).cast(), STRINGS_MAX + 2),
            )
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: every pointer into it is used only while it lives: the caller drops it after the child's exec.
        unsafe { sys::unmap(self.at, BYTES) };
    }
}

/// Pointers into a [`Memory`], good while that lives.
pub(super) struct Plan {
    pub(super) directory: *const u8,
    /// `cgroup.procs` of the group to enter.
    pub(super) group: Option<*const u8>,
    pub(super) program: *const u8,
    /// A null pointer ends it.
    pub(super) arguments: *const *const u8,
    /// A null pointer ends it.
    pub(super) variables: *const *const u8,
    pub(super) umask: u32,
    /// Resource, soft, hard.
    limits: [[u64; 3]; LIMITS_MAX],
    limit_count: usize,
}

impl Plan {
    pub(super) fn limits(&self) -> impl Iterator<Item = &[u64; 3]> {
        self.limits.iter().take(self.limit_count)
    }
}

/// Waits for the plan. An error is the step and the kernel's number; `None` inside it: the supervisor is gone.
pub(super) fn receive(life: &Life, memory: &mut Memory) -> Result<Plan, Option<(u64, sys::Errno)>> {
    let bytes = memory.plan();
    let mut got = 0;
    let head = loop {
        match sys::receive(life.socket, bytes.get_mut(got..).unwrap_or_default()) {
            Ok(0) => return Err(None),
            Ok(count) => got += count,
            Err(sys::EINTR) => continue,
            Err(sys::EAGAIN) => {
                if life.wait_for_packet() {
                    continue;
                }
                return Err(None);
            }
            Err(errno) => return Err(Some((step::PLAN, errno))),
        }
        let Some(head) = bytes.get(..got).and_then(Head::decode) else { return Err(Some((step::PLAN, 0))) };
        if got >= head.total as usize {
            break head;
        }
    };
    index(&head, memory).ok_or(Some((step::PLAN, 0)))
}

/// Finds limits and strings. `None` where they are not what the fixed part says.
fn index(head: &Head, memory: &mut Memory) -> Option<Plan> {
    let (bytes, pointers) = memory.parts();
    let (limits_at, strings_at) = (HEAD_BYTES, HEAD_BYTES + head.limits as usize * LIMIT_BYTES);
    let mut limits = [[0; 3]; LIMITS_MAX];
    for (limit, bytes) in limits.iter_mut().zip(bytes.get(limits_at..strings_at)?.chunks_exact(LIMIT_BYTES)) {
        for (field, bytes) in limit.iter_mut().zip(bytes.chunks_exact(8)) {
            *field = u64::from_ne_bytes(bytes.try_into().ok()?);
        }
    }

    let arguments = head.arguments as usize;
    let variables_at = arguments + 1;
    let ends = [arguments, variables_at + head.variables as usize];
    let mut strings = bytes.get(strings_at..head.total as usize)?;
    let directory = next(&mut strings)?;
    let has_group = *strings.first()? != 0;
    let group = next(&mut strings).filter(|_| has_group);
    for (at, pointer) in pointers.get_mut(..=ends[1])?.iter_mut().enumerate() {
        *pointer = if ends.contains(&at) { ptr::null() } else { next(&mut strings)? };
    }
    if !strings.is_empty() {
        return None;
    }
    Some(Plan {
        directory,
        group,
        program: *pointers.first()?,
        arguments: pointers.as_ptr(),
        variables: pointers.get(variables_at..)?.as_ptr(),
        umask: head.umask,
        limits,
        limit_count: head.limits as usize,
    })
}

/// Takes one string with its zero byte off the front.
fn next(strings: &mut &[u8]) -> Option<*const u8> {
    let end = strings.iter().position(|byte| *byte == 0)?;
    let string = strings.as_ptr();
    *strings = strings.get(end + 1..)?;
    Some(string)
}

#[cfg(test)]
mod tests {
    use core::ffi::CStr;

    use proptest::prelude::*;

    use super::*;

    fn text(string: *const u8) -> &'static str {
        // SAFETY: a string of an indexed plan ends in a zero byte; each test keeps the memory until its end.
        unsafe { CStr::from_ptr(string.cast()) }.to_str().expect("text")
    }

    fn indexed(bytes: &[u8], memory: &mut Memory) -> Option<Plan> {
        memory.plan().get_mut(..bytes.len())?.copy_from_slice(bytes);
        index(&Head::decode(bytes)?, memory)
    }

    fn plan(strings: &[u8]) -> Vec<u8> {
        let total = u32::try_from(HEAD_BYTES + strings.len()).expect("a short plan");
        let mut bytes = Head { total, arguments: 1, variables: 1, limits: 0, umask: 0o77 }.encode().to_vec();
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn the_group_stands_behind_the_directory_and_may_be_missing() {
        let mut memory = Memory::new().expect("memory");
        let sound = indexed(&plan(b"/d\0/g/cgroup.procs\0/p\0A=1\0"), &mut memory).expect("a sound plan");
        assert_eq!((text(sound.directory), text(sound.program)), ("/d", "/p"));
        assert_eq!(sound.group.map(text), Some("/g/cgroup.procs"));
        let without = indexed(&plan(b"/d\0\0/p\0A=1\0"), &mut memory).expect("a sound plan");
        assert_eq!((without.group, text(without.program)), (None, "/p"));
        for wrong in ["", "/d\0", "/d\0\0/p\0", "/d\0\0/p\0A=1", "/d\0\0/p\0A=1\0more\0", "/d"] {
            assert!(indexed(&plan(wrong.as_bytes()), &mut memory).is_none(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_numbers_say_is_read_within_the_plan(
            total in 0_u32..400, arguments in 0_u32..5, variables in 0_u32..5, limits in 0_u32..18,
            rest in proptest::collection::vec(0_u8..3, 0..360),
        ) {
            let mut memory = Memory::new().expect("memory");
            let mut bytes = Head { total, arguments, variables, limits, umask: 0 }.encode().to_vec();
            bytes.extend(rest);
            let Some(plan) = indexed(&bytes, &mut memory) else { return Ok(()) };
            let plan_at = memory.plan().as_ptr_range();
            let inside = |string: *const u8| (plan_at.start..plan_at.end).contains(&string);
            prop_assert!(inside(plan.directory) && inside(plan.program) && plan.group.is_none_or(inside));
            prop_assert_eq!(plan.limits().count(), limits as usize);
        }
    }
}
