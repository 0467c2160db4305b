//! `demo`: a supervisor at work, told as it happens: guards decide what a recorded agent may do, one of them is killed
//! in the middle, and everything goes on.
//!
//! It uses what every user has: packages and a configuration in a directory of its own, `outrigger run` as a child
//! process, and the public sockets. Supervisor and directory are gone when it ends, however it ends but by SIGKILL.

mod files;
mod narrator;
mod python;
mod story;
mod supervisor;
mod watch;

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::files::{Directory, Programs};
use self::narrator::Narrator;
use self::story::Story;
use self::supervisor::Supervisor;
use super::args::DemoArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::{Context, Global};

/// Shows the demonstration.
pub(super) async fn demo(context: &mut Context<'_>, args: DemoArgs) -> Result<Exit, Failure> {
    if context.global.json {
        return Err(Failure::new(Exit::Usage, "a demonstration is for people and has no JSON")
            .remedy("`outrigger replay --json` gives decisions to programs"));
    }
    let mut signals = Signals::listen()?;
    let programs = Programs::find()?;
    let mut narrator = Narrator::new(context.terminal);
    narrator.title("outrigger demo: plugins guard an agent's tools, and one of them is killed in the middle")?;
    let python = if args.no_python {
        None
    } else {
        tokio::select! {
            python = python::prepare(&mut narrator) => python?,
            () = signals.come() => return Err(interrupted()),
        }
    };

    // In this order, so that wherever this ends the supervisor is gone before its directory is.
    let directory = Directory::make()?;
    directory.write_packages(&programs, python.as_ref())?;
    let mut supervisor = Supervisor::start(&directory)?;
    let global = Global {
        runtime_dir: Some(directory.runtime_dir()),
        state_dir: Some(directory.state_dir()),
        ..context.global.clone()
    };
    let told = tokio::select! {
        told = tell(&mut narrator, &global, &directory, &mut supervisor, python.is_some()) => told,
        () = signals.come() => {
            supervisor.kill().await;
            return Err(interrupted());
        }
    };
    if told.is_err() {
        // Where the story broke, the supervisor's own words are what helps. That they cannot be shown changes nothing.
        let _ = narrator.log_tail(&directory.log());
        supervisor.kill().await;
        return told.map(|()| Exit::Done);
    }
    if args.hold {
        hold(&mut narrator, &directory)?;
        tokio::select! {
            () = signals.come() => {}
            () = supervisor.left() => {
                narrator.step("The supervisor was stopped from elsewhere.")?;
                return Ok(Exit::Done);
            }
        }
    }
    let ended = story::end(&mut narrator, &global, &mut supervisor).await;
    supervisor.kill().await;
    ended.map(|()| Exit::Done)
}

async fn tell(
    narrator: &mut Narrator<'_>,
    global: &Global,
    directory: &Directory,
    supervisor: &mut Supervisor,
    with_python: bool,
) -> Result<(), Failure> {
    Story::begin(narrator, global, directory, supervisor, with_python).await?.tell(narrator).await
}

fn hold(narrator: &mut Narrator<'_>, directory: &Directory) -> Result<(), Failure> {
    let (run, state) = (directory.runtime_dir(), directory.state_dir());
    narrator.step("The supervisor stays until you press Ctrl-C. In another terminal:")?;
    for command in ["status", "logs -f", "why file-guard", "inspect policy-gate"] {
        let options = format!("--runtime-dir {} --state-dir {}", run.display(), state.display());
        narrator.detail(format!("outrigger {options} {command}"))?;
    }
    Ok(())
}

fn interrupted() -> Failure {
    Failure::new(Exit::Failed, "interrupted; the supervisor and its directory are gone")
}

/// Requests to end: Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(Exit::Failed, format!("signals cannot be waited for: {error}")))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
