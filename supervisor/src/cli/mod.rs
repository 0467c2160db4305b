//! The command line: every command but `run`, which the binary itself carries out.
//!
//! A command reads its arguments, calls the supervisor over its sockets like any other client, turns the answer into a
//! view (see `view`) and prints that as text or, with `--json`, as JSON. It knows nothing of a supervisor's inside.
//!
//! What plugins wrote reaches a terminal only through `text::safe` or the JSON writer, which escape what could steer
//! it. Answers go to stdout, errors and questions to stderr; each error says what to do; exit codes are in [`Exit`].

mod args;
mod command;
mod config;
mod connection;
mod demo;
mod exit;
mod failure;
mod json;
mod replay;
mod screen;
mod table;
mod terminal;
mod text;
mod view;

use std::future::Future;
use std::process::ExitCode;

use serde::Serialize;

pub use args::{Cli, Client, Command, Global, LogFormat, RunArgs};
pub use config::{ConfigCheck, ConfigProblem, ConfigReport};
pub use exit::Exit;
pub use failure::{Failure, Told};
pub use terminal::{ColorWhen, Terminal};

/// Carries a command out on the streams of this process. It makes its own runtime: call it outside of one.
#[must_use]
pub fn run(global: &Global, command: Client, check: ConfigCheck) -> ExitCode {
    execute(global, command, check, &mut Terminal::standard(global.color)).into()
}

/// Carries a command out on these streams. It makes its own runtime: call it outside of one.
pub fn execute(global: &Global, command: Client, check: ConfigCheck, terminal: &mut Terminal) -> Exit {
    let mut context = Context { global, terminal };
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(dispatch(&mut context, command, check)),
        Err(error) => Err(Failure::new(Exit::Failed, format!("this process gets no event loop: {error}"))),
    };
    // Written lines are kept back until here; that nobody reads them any more shows here at the latest.
    let flushed = terminal.out.flush().map_err(Failure::from);
    match outcome.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.tell(terminal, global.json);
            failure.exit()
        }
    }
}

async fn dispatch(context: &mut Context<'_>, command: Client, check: ConfigCheck) -> Result<Exit, Failure> {
    match command {
        Client::Init(args) => command::init::init(context, &args),
        Client::Check(args) if args.live => command::guards::live(context).await,
        Client::Check(args) => command::check::check(context, &args, check),
        Client::Status(args) => command::status::status(context, args).await,
        Client::Top(args) => command::top::top(context, args).await,
        Client::Inspect(args) => command::inspect::inspect(context, args).await,
        Client::Start(args) => command::control::start(context, args).await,
        Client::Stop(args) => command::stop::stop(context, args).await,
        Client::Restart(args) => command::control::restart(context, args).await,
        Client::Reload(args) => command::control::reload(context, args).await,
        Client::Logs(args) => command::logs::logs(context, args).await,
        Client::Events(args) => command::events::events(context, args).await,
        Client::Why(args) => command::why::why(context, args).await,
        Client::Rights(args) => command::rights::rights(context, args).await,
        Client::Hooks(args) => command::hooks::hooks(context, args).await,
        Client::Guards(args) => command::guards::guards(context, args).await,
        Client::Call(args) => command::call::call(context, args).await,
        Client::Key(command) => command::key::key(context, command).await,
        Client::Replay(args) => replay::replay(context, args).await,
        Client::Demo(args) => demo::demo(context, args).await,
        Client::Shutdown(args) => command::shutdown::shutdown(context, args).await,
    }
}

/// What every command works with.
struct Context<'a> {
    global: &'a Global,
    terminal: &'a mut Terminal,
}

impl Context<'_> {
    /// Connects to the admin socket.
    async fn admin(&self) -> Result<connection::Admin, Failure> {
        connection::admin(self.global).await
    }

    /// Waits for an answer, as long as `--timeout` allows.
    async fn wait<T, F>(&self, call: F) -> Result<T, Failure>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        self.within(async { Ok(call.await?.into_inner()) }).await
    }

    /// Waits as long as `--timeout` allows.
    async fn within<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let limit = self.global.timeout();
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let waited = text::duration(limit);
            Err(Failure::new(Exit::TimedOut, format!("there was no answer within {waited}; the work may still go on"))
                .remedy("see `outrigger status`, or give it longer with --timeout"))
        })
    }

    /// Prints a line.
    fn line(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        Ok(writeln!(self.terminal.out, "{}", line.as_ref())?)
    }

    /// Prints a JSON document.
    fn document<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        self.line(json::document(value))
    }

    /// Lets everything printed so far be seen.
    fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.terminal.out.flush()?)
    }
}
