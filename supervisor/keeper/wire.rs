//! What supervisor and keeper say to each other. Both are made from one source, so numbers are in the machine's order.

/// Most bytes of a plan: the fixed part, limits and strings.
pub(crate) const PLAN_MAX: usize = 1024 * 1024;
/// Most arguments and variables together.
pub(crate) const STRINGS_MAX: usize = 16 * 1024;
/// Most resource limits.
pub(crate) const LIMITS_MAX: usize = 16;
/// Most bytes of one piece of a plan. A socket's buffer holds several.
pub(crate) const PIECE_MAX: usize = 32 * 1024;
/// Bytes of the fixed part of a plan: eight `u32`.
pub(crate) const HEAD_BYTES: usize = 32;
/// Bytes of one resource limit: three `u64`: resource, soft, hard.
pub(crate) const LIMIT_BYTES: usize = 24;
/// First number of a plan: names the form and its version.
pub(crate) const PLAN_MAGIC: u32 = 0x4f52_0002;

/// The fixed part of a plan. After it come the limits, and then, each with a zero byte at its end, the working
/// directory, the `cgroup.procs` of the group that the child enters (empty: none), the arguments (the first is the
/// program) and the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes in all, this part included.
    pub(crate) total: u32,
    /// Arguments, at least one.
    pub(crate) arguments: u32,
    /// Variables of the environment.
    pub(crate) variables: u32,
    /// Resource limits.
    pub(crate) limits: u32,
    /// File mode bits that new files of the plugin do not get.
    pub(crate) umask: u32,
}

impl Head {
    /// As bytes.
    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let fields = [PLAN_MAGIC, self.total, self.arguments, self.variables, self.limits, self.umask];
        for (slot, field) in bytes.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    /// From the first bytes of a plan; `None` where they are too few, or no plan within the bounds.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = [0_u32; HEAD_BYTES / 4];
        for (field, chunk) in fields.iter_mut().zip(bytes.get(..HEAD_BYTES)?.chunks_exact(4)) {
            *field = u32::from_ne_bytes(chunk.try_into().ok()?);
        }
        let [magic, total, arguments, variables, limits, umask, ..] = fields;
        let strings = (arguments as usize).checked_add(variables as usize)?;
        let sound = magic == PLAN_MAGIC
            && (HEAD_BYTES..=PLAN_MAX).contains(&(total as usize))
            && arguments > 0
            && strings <= STRINGS_MAX
            && limits as usize <= LIMITS_MAX;
        sound.then_some(Self { total, arguments, variables, limits, umask })
    }
}

/// Command: send SIGTERM to the child's process group.
pub(crate) const TERMINATE: u8 = b'T';

/// Bytes of a record.
pub(crate) const RECORD_BYTES: usize = 48;

/// What the keeper reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The program runs: its exec has succeeded.
    Started {
        /// The child.
        pid: u32,
        /// What holds; bits of [`held`].
        held: u64,
    },
    /// It could not be started; an Empty follows.
    Failed {
        /// Where: one of [`step`].
        step: u64,
        /// Why: the kernel's error number, 0 where there is none.
        errno: i32,
    },
    /// The child has ended.
    Exited {
        /// As `wait` encodes it.
        status: i32,
        /// Processor time of the child and what it waited for, microseconds.
        cpu_micros: u64,
        /// Its highest resident memory, KiB.
        peak_kib: u64,
    },
    /// No process is left; the keeper exits.
    Empty {
        /// Processes besides the child that had to be killed.
        killed: u32,
    },
}

impl Record {
    /// As bytes.
    pub(crate) fn encode(&self) -> [u8; RECORD_BYTES] {
        let fields: [u64; 4] = match *self {
            Self::Started { pid, held } => [1, u64::from(pid), held, 0],
            Self::Failed { step, errno } => [2, step, errno as u64, 0],
            Self::Exited { status, cpu_micros, peak_kib } => [3, status as u64, cpu_micros, peak_kib],
            Self::Empty { killed } => [4, u64::from(killed), 0, 0],
        };
        let mut bytes = [0; RECORD_BYTES];
        for (slot, field) in bytes.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    /// From bytes; `None` where they are no record.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        let mut fields = [0_u64; RECORD_BYTES / 8];
        for (field, chunk) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
            *field = u64::from_ne_bytes(chunk.try_into().ok()?);
        }
        let [kind, a, b, c, ..] = fields;
        Some(match kind {
            1 => Self::Started { pid: u32::try_from(a).ok()?, held: b },
            2 => Self::Failed { step: a, errno: b as i32 },
            3 => Self::Exited { status: a as i32, cpu_micros: b, peak_kib: c },
            4 => Self::Empty { killed: u32::try_from(a).ok()? },
            _ => return None,
        })
    }
}

/// What holds for a launch, as bits.
pub(crate) mod held {
    /// Every descriptor but 0 to 2 was closed before the plugin's exec.
    pub(crate) const DESCRIPTORS: u64 = 1;
    /// No process of the tree can gain privileges by executing.
    pub(crate) const NO_NEW_PRIVS: u64 = 1 << 1;
    /// The keeper is in a Landlock signal scope, and a signal to the supervisor was seen to be refused.
    pub(crate) const SCOPE: u64 = 1 << 2;
    /// The plugin is in a scope nested in it.
    pub(crate) const CHILD_SCOPE: u64 = 1 << 3;
    /// Orphans of the tree come to the keeper.
    pub(crate) const SUBREAPER: u64 = 1 << 4;
    /// The tree is killed by walking it, as no scope holds.
    pub(crate) const SWEEP: u64 = 1 << 5;
    /// The keeper also watches the supervisor's process, not only the socket.
    pub(crate) const SUPERVISOR: u64 = 1 << 6;
    /// The plugin is in the control group of its plan.
    pub(crate) const GROUP: u64 = 1 << 7;
}

/// Where a start failed.
pub(crate) mod step {
    /// The keeper could not set itself up.
    pub(crate) const SETUP: u64 = 1;
    /// The plan is not understood.
    pub(crate) const PLAN: u64 = 2;
    /// No child could be made.
    pub(crate) const CLONE: u64 = 3;
    /// The child's session, parent-death signal or mask could not be set.
    pub(crate) const CHILD: u64 = 4;
    /// A resource limit could not be set.
    pub(crate) const LIMIT: u64 = 5;
    /// The working directory could not be entered.
    pub(crate) const DIRECTORY: u64 = 6;
    /// The program could not be executed.
    pub(crate) const EXEC: u64 = 7;
}
