//! Faults that are other processes. They are this program once more, with a role: forking a process that has threads
//! is unsafe, starting a program is not.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, process, thread};

use rustix::process::{Signal, getppid, kill_process, setsid};

use crate::arguments::Arguments;
use crate::plugin::{Plugin, live_on};
use crate::report::report;
use crate::strike::After;
use crate::{dial, sys};

/// Most processes of a fork bomb at once.
const MAX_BOMB: u32 = 40;
/// Longest life of a fork bomb, seconds.
const MAX_BOMB_SECS: u32 = 10;
/// Most sleeping children.
const MAX_CHILDREN: u32 = 60;
/// Places after its own that each process of a fork bomb looks after.
const NEIGHBOURS: u32 = 4;

/// Strikes.
pub(crate) fn strike(plugin: &Plugin, fault: &str) -> io::Result<After> {
    let arguments = &plugin.arguments;
    match fault {
        "detach-grandchild" => start_detached(arguments, "lurk")?,
        "many-processes" => {
            let count = arguments.number("count", 32, MAX_CHILDREN);
            for started in 0..count {
                if let Err(error) = start(arguments, "sleep", &[], Stdio::null()) {
                    report!("started {started} children, then: {error}");
                    return Ok(After::Continue);
                }
            }
            report!("started {count} children");
        }
        "fork-bomb" => {
            let life = arguments.number("life", MAX_BOMB_SECS, MAX_BOMB_SECS);
            let bomb = Bomb {
                name: process::id().to_string(),
                places: arguments.number("max", MAX_BOMB, MAX_BOMB).max(1),
                until: now() + u128::from(life) * 1000,
            };
            sys::forget_children();
            (0..bomb.places).for_each(|place| bomb.fill(arguments, place));
            report!("{} processes replace their dead for {life} s", bomb.places);
        }
        "wrapper-exits" => {
            // Standard input is the wrapper's other end.
            File::from(io::stdin().as_fd().try_clone_to_owned()?).write_all(b"x")?;
            report!("told the wrapper to exit");
        }
        _ => {
            let worker = start(arguments, "hold", &[], Stdio::from(plugin.link.share()?))?;
            report!("worker {} has the socket", worker.id());
            return Ok(After::Exit(0));
        }
    }
    Ok(After::Continue)
}

/// Starts a role as a grandchild in a session of its own, whose parent is gone.
pub(crate) fn start_detached(arguments: &Arguments, role: &str) -> io::Result<()> {
    start(arguments, "detach", &[format!("then={role}")], Stdio::null())?.wait().map(drop)
}

/// Stops this process. A child ends it when its time is over, as the alarm waits for a stopped process to go on.
pub(crate) fn stop_self(arguments: &Arguments) -> io::Result<()> {
    let watch = ["watch=yes".to_owned()];
    command(arguments, "guard", &watch)?.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    report!("stops itself");
    kill_process(rustix::process::getpid(), Signal::STOP)?;
    Ok(())
}

/// The process that the host started, when the plugin runs in a worker: exits when told, or with the worker.
pub(crate) fn wrap(arguments: &Arguments) -> io::Result<i32> {
    let (mut own, other) = UnixStream::pair()?;
    let mut worker = start(arguments, "worker", &[], Stdio::from(OwnedFd::from(other)))?;
    let mut told = [0];
    if own.read(&mut told)? == 1 {
        report!("wrapper {} exits, worker {} lives on", process::id(), worker.id());
        return Ok(0);
    }
    Ok(worker.wait()?.code().unwrap_or(1))
}

/// Plays the role of a process that a fault started; the exit status. The worker of `wrapper-exits` is none of these.
pub(crate) fn play(role: &str, arguments: &Arguments) -> io::Result<i32> {
    let life = arguments.number("life", sys::LIFE_SECS, sys::LIFE_SECS).max(1);
    sys::die_after(life);
    match role {
        "detach" => {
            setsid()?;
            let then = arguments.options.get("then").map_or("sleep", String::as_str);
            start(arguments, then, &[], Stdio::null())?;
        }
        "lurk" => {
            sys::ignore_sigterm();
            report!("grandchild {} ignores SIGTERM", process::id());
            live_on();
        }
        "hold" => {
            report!("worker {} keeps the socket", process::id());
            live_on();
        }
        "guard" => guard(life)?,
        "bomb" => explode(arguments),
        "dial" => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(dial::dial(arguments)),
        _ => live_on(),
    }
    Ok(0)
}

/// Kills its parent when its time is over; ends with it.
fn guard(life: u32) -> io::Result<()> {
    sys::die_after(life + 5);
    let Some(parent) = getppid() else { return Ok(()) };
    for _ in 0..life * 20 {
        thread::sleep(Duration::from_millis(50));
        if getppid() != Some(parent) {
            return Ok(());
        }
    }
    Ok(kill_process(parent, Signal::KILL)?)
}

/// A number of places, each for one process. Who has the place's name bound has the place; it is free as soon as that
/// process is gone. So there are never more processes than places, whoever fills them.
struct Bomb {
    name: String,
    places: u32,
    /// When it is over, in milliseconds since 1970.
    until: u128,
}

impl Bomb {
    /// Starts a process in a place, if that is free. Whatever goes wrong, others try again.
    fn fill(&self, arguments: &Arguments, place: u32) {
        let name = format!("misbehave-bomb-{}-{}", self.name, place % self.places);
        let Ok(address) = SocketAddr::from_abstract_name(name) else { return };
        let Ok(listener) = UnixListener::bind_addr(&address) else { return };
        let options =
            [format!("bomb={}", self.name), format!("place={}", place % self.places), format!("until={}", self.until)];
        let _ = start(arguments, "bomb", &options, Stdio::from(OwnedFd::from(listener)));
    }
}

fn explode(arguments: &Arguments) {
    sys::forget_children();
    let bomb = Bomb {
        name: arguments.options.get("bomb").cloned().unwrap_or_default(),
        places: arguments.number("max", MAX_BOMB, MAX_BOMB).max(1),
        until: arguments.number("until", 0, now() + u128::from(MAX_BOMB_SECS) * 1000),
    };
    let place = arguments.number("place", 0_u32, MAX_BOMB);
    while now() < bomb.until {
        (1..=NEIGHBOURS).for_each(|step| bomb.fill(arguments, place + step));
        thread::sleep(Duration::from_millis(2));
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

/// This program with the same arguments, in a role.
fn command(arguments: &Arguments, role: &str, options: &[String]) -> io::Result<Command> {
    // As it was started, for where /proc is closed.
    let program = env::args_os().next().map(PathBuf::from).filter(|program| program.is_absolute());
    let mut command = Command::new(program.map_or_else(env::current_exe, Ok)?);
    if let Some(fault) = arguments.fault {
        command.args(["--fault", fault.name, "--when", arguments.when.name()]);
    }
    for tool in &arguments.tools {
        command.args(["--tool", tool]);
    }
    command.args(arguments.options.iter().map(|(key, value)| format!("{key}={value}")));
    command.args(options).args(["--role", role]);
    Ok(command)
}

fn start(arguments: &Arguments, role: &str, options: &[String], stdin: Stdio) -> io::Result<Child> {
    command(arguments, role, options)?.stdin(stdin).spawn()
}
