//! The keeper's life, from its first instruction to its last.

use super::child;
use super::kill::Reach;
use super::plan::{self, Memory};
use super::scope::Scope;
use super::sys::{self, PollFd};
use super::wire::{Record, TERMINATE, held, step};

/// Children reaped before commands are looked at again: a tree that forks and exits for ever must not keep the keeper
/// from hearing the order to kill it.
const REAPS_A_TURN: u32 = 64;
/// Descriptors closed one by one where the kernel cannot close a range.
const CLOSED_ONE_BY_ONE: u64 = 65_536;
/// Between two kills of a tree that does not become smaller, milliseconds: first and longest.
const PAUSE_MS: (u32, u32) = (1, 100);

/// What tells the keeper that it is still wanted.
#[derive(Clone, Copy)]
pub(super) struct Life {
    /// Life, commands, records.
    pub(super) socket: i32,
    /// The supervisor's process; negative where it cannot be named.
    supervisor: i32,
    /// Its number; another once it is gone.
    parent: i32,
}

impl Life {
    /// Waits for a packet or its end; false once the supervisor's process is gone.
    pub(super) fn wait_for_packet(&self) -> bool {
        let mut fds = [readable(self.socket), readable(self.supervisor)];
        sys::poll(&mut fds, None);
        self.is_wanted()
    }

    /// The supervisor's process is there.
    fn is_wanted(&self) -> bool {
        sys::parent_pid() == self.parent
    }

    fn report(&self, record: Record) {
        sys::send(self.socket, &record.encode());
    }
}

fn readable(fd: i32) -> PollFd {
    PollFd { fd, events: sys::POLLIN, revents: 0 }
}

/// Runs the keeper on this process's standard input. Never returns.
pub(crate) fn run() -> ! {
    let mut held = 0;
    if close_inherited() {
        held |= held::DESCRIPTORS;
    }
    // Blocked first: a signal that was ignored so far must not end the keeper once it has its default effect.
    let _ = sys::block_signals(u64::MAX);
    sys::default_signals();
    let Ok(socket) = sys::copy_above_standard(0) else { sys::exit(2) };
    let mut life = Life { socket, supervisor: -1, parent: sys::parent_pid() };
    match prepare(&mut life, held) {
        Ok(tree) => tree.keep(),
        Err(None) => {}
        Err(Some((step, errno))) => {
            life.report(Record::Failed { step, errno });
            life.report(Record::Empty { killed: 0 });
        }
    }
    sys::exit(0)
}

/// Closes all but 0 to 2; whether that is certain.
fn close_inherited() -> bool {
    if sys::close_from(3).is_ok() {
        return true;
    }
    let limit = sys::descriptor_limit();
    for fd in 3..limit.min(CLOSED_ONE_BY_ONE) {
        sys::close(fd as i32);
    }
    // A descriptor may be above a limit that was lowered later.
    false
}

/// Everything up to the child's exec. `Err(None)`: the supervisor is gone and there is nothing to clean up.
fn prepare(life: &mut Life, mut held: u64) -> Result<Tree, Option<(u64, sys::Errno)>> {
    let setup = |errno| Some((step::SETUP, errno));
    if sys::set(sys::PR_SET_CHILD_SUBREAPER, 1).is_ok() {
        held |= held::SUBREAPER;
    }
    let _ = sys::set(sys::PR_SET_DUMPABLE, 0);
    sys::set_name(c"outrigger-keep");
    let _ = sys::set(sys::PR_SET_NO_NEW_PRIVS, 1);
    if sys::set(sys::PR_GET_NO_NEW_PRIVS, 0) == Ok(1) {
        held |= held::NO_NEW_PRIVS;
    }

    if life.parent > 0
        && let Ok(supervisor) = sys::pidfd_open(life.parent)
    {
        // Had the supervisor died before, its number could be another's by now; but then the parent is another, too.
        if !life.is_wanted() {
            return Err(None);
        }
        life.supervisor = supervisor;
        held |= held::SUPERVISOR;
    }
    let scope = Scope::enter(life.parent);
    if scope.proved {
        held |= held::SCOPE;
    }
    let reach = Reach::choose(&scope);
    if reach == Reach::Sweep {
        held |= held::SWEEP;
    }

    let null = sys::open(c"/dev/null", sys::O_RDWR | sys::O_CLOEXEC).map_err(setup)?;
    sys::replace(null, 0).map_err(setup)?;
    let signals = sys::child_signals().map_err(setup)?;
    let mut memory = Memory::new().map_err(setup)?;
    let plan = plan::receive(life, &mut memory)?;
    let started = child::start(&plan, &memory, scope.ruleset);
    drop(memory);

    // From here on the plugin's pipes are the plugin's alone.
    for output in [1, 2] {
        if sys::replace(null, output).is_err() {
            sys::close(output);
        }
    }
    sys::close(null);
    if let Some(ruleset) = scope.ruleset {
        sys::close(ruleset);
    }
    let child = match started {
        Ok(child) => child,
        Err(failed) => {
            if failed.made {
                // It has exited already, or is about to.
                while let Ok(None) = sys::reap() {
                    sys::poll(&mut [readable(signals)], Some(PAUSE_MS.1));
                }
            }
            return Err(Some((failed.step, failed.errno)));
        }
    };
    if child.scoped {
        held |= held::CHILD_SCOPE;
    }
    if child.grouped {
        held |= held::GROUP;
    }
    life.report(Record::Started { pid: child.pid as u32, held });
    Ok(Tree { life: *life, signals, reach, child: child.pid, child_lives: true, killing: false, killed: 0 })
}

struct Tree {
    life: Life,
    /// Readable when a child has ended.
    signals: i32,
    reach: Reach,
    child: i32,
    child_lives: bool,
    killing: bool,
    killed: u32,
}

/// What one turn of reaping found.
enum Reaped {
    /// No process is left.
    Empty,
    /// Some; perhaps more have ended.
    Some,
    /// None has ended.
    None,
}

impl Tree {
    /// Keeps the tree until no process of it is left.
    fn keep(mut self) {
        let mut pause = PAUSE_MS.0;
        let mut limit = Some(0);
        loop {
            self.listen(limit);
            let reaped = self.reap();
            if matches!(reaped, Reaped::Empty) {
                return self.life.report(Record::Empty { killed: self.killed });
            }
            if self.killing {
                self.reach.kill(self.child);
            }
            limit = match reaped {
                Reaped::Empty | Reaped::Some => {
                    pause = PAUSE_MS.0;
                    Some(0)
                }
                Reaped::None if self.killing => {
                    pause = (pause * 2).min(PAUSE_MS.1);
                    Some(pause)
                }
                Reaped::None => None,
            };
        }
    }

    /// Waits for the end of life, a command or the end of a child, and takes all commands.
    fn listen(&mut self, limit_ms: Option<u32>) {
        // A socket or supervisor that has ended would be ready for ever; once it has, nothing more is to be heard.
        let heard = |fd| if self.killing { -1 } else { fd };
        let mut fds =
            [readable(heard(self.life.socket)), readable(heard(self.life.supervisor)), readable(self.signals)];
        sys::poll(&mut fds, limit_ms);
        let [socket, supervisor, signals] = fds.map(|fd| fd.revents != 0);
        if signals {
            let mut information = [0; 128];
            let _ = sys::read(self.signals, &mut information);
        }
        self.killing |= supervisor && !self.life.is_wanted();
        while socket && !self.killing {
            let mut command = [0];
            match sys::receive(self.life.socket, &mut command) {
                Ok(1..) if command == [TERMINATE] => {
                    // Its process group, as long as its number is certainly its own.
                    if self.child_lives {
                        let _ = sys::kill(-self.child, sys::SIGTERM);
                    }
                }
                Ok(1..) | Err(sys::EINTR) => {}
                Err(sys::EAGAIN) => return,
                Ok(0) | Err(_) => self.killing = true,
            }
        }
    }

    /// Reaps what has ended, up to the bound of one turn.
    fn reap(&mut self) -> Reaped {
        for turn in 0..REAPS_A_TURN {
            match sys::reap() {
                Ok(Some(ended)) if ended.pid == self.child && self.child_lives => {
                    self.child_lives = false;
                    let (status, cpu_micros, peak_kib) = (ended.status, ended.cpu_micros, ended.peak_kib);
                    self.life.report(Record::Exited { status, cpu_micros, peak_kib });
                    self.killing = true;
                }
                Ok(Some(ended)) => {
                    if self.killing && ended.status & 0x7f == sys::SIGKILL {
                        self.killed = self.killed.saturating_add(1);
                    }
                }
                Ok(None) if turn == 0 => return Reaped::None,
                Ok(None) => return Reaped::Some,
                Err(sys::EINTR) => {}
                Err(_) => return Reaped::Empty,
            }
        }
        Reaped::Some
    }
}
