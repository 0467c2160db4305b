//! The command line as `clap` reads it. Names follow `systemctl` and `journalctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::exit::Exit;
use super::terminal::ColorWhen;
use crate::domain::hook::{CATALOGUE, Hook};
use crate::domain::ids::{PluginId, RuntimeId};

/// Runs agent plugins as child processes: supervised, fenced, and reclaimed when they fail.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, about, arg_required_else_help = true, max_term_width = 110, after_help = Exit::help())]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print JSON: one document, or one line for each thing that follows
    #[arg(long, global = true)]
    pub json: bool,
    /// Directory of the sockets [default: $OUTRIGGER_RUNTIME_DIR, else /run/outrigger (root), $XDG_RUNTIME_DIR/outrigger or /tmp/outrigger-UID]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub runtime_dir: Option<PathBuf>,
    /// Directory of keys and durable data [default: $OUTRIGGER_STATE_DIR, else /var/lib/outrigger (root) or $XDG_STATE_HOME|~/.local/state, and in it outrigger]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub state_dir: Option<PathBuf>,
    /// When to use colour; `auto` is on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
    /// Wait so long for the supervisor's answer, for instance 500ms, 30s, 2m [default: 60s]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
}

impl Global {
    /// The longest a control takes is a restart: 15 s to stop and 10 s to start, with the defaults; this leaves room.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

    /// How long to wait for an answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Self::DEFAULT_TIMEOUT)
    }
}

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the supervisor in the foreground
    Run(RunArgs),
    /// Everything else.
    #[command(flatten)]
    Client(Client),
}

/// The commands that are not the supervisor itself.
#[derive(Debug, Subcommand)]
pub enum Client {
    /// Write a commented outrigger.toml to begin with
    Init(InitArgs),
    /// Read the configuration and tell every problem with its line; with --live try every guard of the running supervisor
    Check(CheckArgs),
    /// Show the supervisor and its plugins
    Status(StatusArgs),
    /// Show plugins and what they use, again and again; once where there is no terminal
    Top(TopArgs),
    /// Show all about a plugin: rights, guards, handlers, sandbox, what does not hold
    Inspect(PluginArg),
    /// Start a plugin and wait until it is ready
    Start(StartArgs),
    /// Stop a plugin; it stays stopped, and its guards guard no more
    Stop(StopArgs),
    /// Stop and start a plugin
    Restart(PluginArg),
    /// Start a new generation of a plugin, swap, then drain the old one
    Reload(PluginArg),
    /// Show what plugins wrote
    Logs(LogsArgs),
    /// Show what agents and plugins publish
    Events(EventsArgs),
    /// Tell why a plugin is as it is: last failures with their evidence, and what to do
    Why(PluginArg),
    /// Show the rights of plugins, where each comes from, and what would allow the others
    Rights(RightsArgs),
    /// List handlers in the order in which they are asked
    Hooks(HooksArgs),
    /// Send a canary through every guard and tell whether each guards
    Guards(GuardsArgs),
    /// Invoke one hook on one plugin, for debugging
    Call(CallArgs),
    /// Keys of runtimes
    #[command(subcommand)]
    Key(KeyCommand),
    /// Play recorded traces of an agent as its runtime would
    Replay(ReplayArgs),
    /// Show a supervisor at work in a directory of its own, with a crash in the middle
    Demo(DemoArgs),
    /// Stop the supervisor in order, and wait until it is gone
    Shutdown(ShutdownArgs),
}

/// How the supervisor's own log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `run`; directories are among the global options.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Configuration file [default: $OUTRIGGER_CONFIG, else /etc/outrigger/outrigger.toml (root) or $XDG_CONFIG_HOME|~/.config, and in it outrigger/outrigger.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the log on stderr is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// `init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Directory to write outrigger.toml into; made if it is missing [default: where `run` looks for it]
    pub dir: Option<PathBuf>,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
}

/// `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The file [default: the one that `run` reads]
    pub file: Option<PathBuf>,
    /// Not a file: send a canary through every guard of the running supervisor; exit code 1 if one does not answer
    #[arg(long, conflicts_with = "file")]
    pub live: bool,
}

/// `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Only these plugins; exit code 4 if one is not ready
    #[arg(value_name = "PLUGIN", value_parser = parse_plugin)]
    pub plugins: Vec<String>,
    /// Go on: one line for each change
    #[arg(short, long)]
    pub follow: bool,
}

/// `top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// Show it once; processor use is that of one interval
    #[arg(long)]
    pub once: bool,
    /// Time from one look to the next, 500ms to 60s
    #[arg(short = 'd', long, value_name = "TIME", default_value = "2s", value_parser = parse_interval)]
    pub interval: Duration,
}

/// A command on one plugin.
#[derive(Debug, Clone, Args)]
pub struct PluginArg {
    /// The plugin
    #[arg(value_name = "PLUGIN", value_parser = parse_plugin)]
    pub plugin: String,
}

/// `start`.
#[derive(Debug, Clone, Args)]
pub struct StartArgs {
    /// The plugin
    #[arg(value_name = "PLUGIN", value_parser = parse_plugin)]
    pub plugin: String,
    /// Release it from quarantine too, close its breakers and forget its failures
    #[arg(long)]
    pub reset: bool,
}

/// `stop`.
#[derive(Debug, Clone, Args)]
pub struct StopArgs {
    /// The plugin
    #[arg(value_name = "PLUGIN", value_parser = parse_plugin)]
    pub plugin: String,
    /// Kill it at once: calls in flight are cut off
    #[arg(long)]
    pub kill: bool,
    /// Do not ask: its guards may go
    #[arg(short, long)]
    pub yes: bool,
}

/// `logs`.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// The plugin; none: all
    #[arg(value_name = "PLUGIN", value_parser = parse_plugin)]
    pub plugin: Option<String>,
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    /// Newest lines to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub lines: u32,
    /// Only lines of this generation
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub generation: Option<u64>,
}

/// `events`.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    /// Newest events to begin with, of those the supervisor still has
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=8_192))]
    pub number: u32,
    /// Only this stream, for instance lifecycle, tool, or a plugin's id
    #[arg(long = "stream", value_name = "NAME")]
    pub streams: Vec<String>,
    /// Only this run
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Only this session
    #[arg(long, value_name = "KEY")]
    pub session: Option<String>,
    /// Only runs of this runtime
    #[arg(long, value_name = "ID")]
    pub runtime: Option<RuntimeId>,
}

/// `hooks`.
#[derive(Debug, Clone, Args)]
pub struct HooksArgs {
    /// Only this hook
    #[arg(value_parser = parse_hook)]
    pub hook: Option<Hook>,
    /// Only handlers of this plugin
    #[arg(long, value_name = "PLUGIN", value_parser = parse_plugin)]
    pub plugin: Option<String>,
}

/// `rights`.
#[derive(Debug, Clone, Args)]
pub struct RightsArgs {
    /// The plugin, with every right there is; none: all plugins, with those that they have or that somebody asked for
    #[arg(value_name = "PLUGIN", value_parser = parse_plugin)]
    pub plugin: Option<String>,
}

/// `guards`.
#[derive(Debug, Clone, Args)]
pub struct GuardsArgs {
    /// Only guards of this plugin
    #[arg(value_name = "PLUGIN", value_parser = parse_plugin)]
    pub plugin: Option<String>,
}

/// `call`.
#[derive(Debug, Clone, Args)]
pub struct CallArgs {
    /// The plugin
    #[arg(value_name = "PLUGIN", value_parser = parse_plugin)]
    pub plugin: String,
    /// The hook, for instance before_tool_call; none: the tool of --tool is run, past the gate
    #[arg(value_parser = parse_hook, required_unless_present = "tool", requires = "event")]
    pub hook: Option<Hook>,
    /// The event: a JSON object, @FILE or - for standard input
    #[arg(long, value_name = "JSON", requires = "hook")]
    pub event: Option<String>,
    /// The arguments of a tool that is run: as the event; none: {}
    #[arg(long, value_name = "JSON", conflicts_with = "hook")]
    pub args: Option<String>,
    /// The context: as the event
    #[arg(long, value_name = "JSON")]
    pub context: Option<String>,
    /// The tool: for tool hooks, or the one to run
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// The handler; none: the plugin's first of the hook
    #[arg(long, value_name = "ID", requires = "hook")]
    pub handler: Option<String>,
    /// Mark the call a canary: the plugin is to do nothing but answer
    #[arg(long, requires = "hook")]
    pub canary: bool,
}

/// `key`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyCommand {
    /// Make the key of a further runtime
    Add {
        /// Id of the runtime
        #[arg(value_name = "ID")]
        runtime: RuntimeId,
        /// Let this group of the machine read it
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
    },
    /// List keys, without their secrets
    List,
    /// Remove a key: its runtime is cut off at once
    Remove {
        /// Id of the runtime
        #[arg(value_name = "ID")]
        runtime: RuntimeId,
    },
}

/// `replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Traces, JSON lines, played one after the other
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Keep the recorded pauses, N times as fast (0.5: half as fast)
    #[arg(long, value_name = "N", conflicts_with = "gap_max", value_parser = parse_speed)]
    pub speed: Option<f64>,
    /// Keep the recorded pauses up to this many milliseconds [default: no pauses]
    #[arg(long, value_name = "MS")]
    pub gap_max: Option<u64>,
    /// Only these hooks
    #[arg(long = "hook", value_name = "NAME", value_parser = parse_hook)]
    pub hooks: Vec<Hook>,
    /// Of tool hooks only those of these tools
    #[arg(long = "tool", value_name = "NAME")]
    pub tools: Vec<String>,
    /// Leave the recorded agent events out
    #[arg(long)]
    pub no_events: bool,
    /// Id of the runtime to play: the key is keys/ID.key in the state directory
    #[arg(long, value_name = "ID", default_value = "default")]
    pub runtime: RuntimeId,
}

/// `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Keep the supervisor until Ctrl-C
    #[arg(long)]
    pub hold: bool,
    /// Leave the Python plugin out
    #[arg(long)]
    pub no_python: bool,
}

/// `shutdown`.
#[derive(Debug, Clone, Args)]
pub struct ShutdownArgs {
    /// Do not wait until it is gone
    #[arg(long)]
    pub no_block: bool,
}

fn parse_plugin(text: &str) -> Result<String, String> {
    text.parse::<PluginId>().map(|id| id.as_str().to_owned()).map_err(|error| error.to_string())
}

fn parse_hook(text: &str) -> Result<Hook, String> {
    Hook::from_name(text).ok_or_else(|| {
        let near: Vec<_> = CATALOGUE.iter().map(|row| row.name).filter(|name| name.contains(text)).take(6).collect();
        if text.is_empty() || near.is_empty() {
            format!("there is no hook of this name; the catalogue has {}", CATALOGUE.len())
        } else {
            format!("there is no hook of this name; did you mean {}?", near.join(", "))
        }
    })
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err("a number above 0".to_owned()),
    }
}

/// A length of time with its unit; a bare number is seconds. At most a day.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "a length of time such as 500ms, 30s or 2m, at most 24h".to_owned();
    let digits = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return Err(wrong()),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(length) if !length.is_zero() && length <= Duration::from_secs(86_400) => Ok(length),
        _ => Err(wrong()),
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    parse_seconds(text)
        .ok()
        .filter(|length| (Duration::from_millis(500)..=Duration::from_secs(60)).contains(length))
        .ok_or_else(|| "a length of time from 500ms to 60s".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lengths_of_time_have_units() {
        assert_eq!(parse_seconds("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_seconds("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "-1s", "0", "1e400", "25h", "3 s", "1.2.3s", "5d"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_hook_gets_a_hint() {
        assert_eq!(parse_hook("before_tool_call"), Ok(Hook::BeforeToolCall));
        assert!(parse_hook("tool_call").expect_err("no such hook").contains("before_tool_call"));
    }

    #[test]
    fn options_stand_before_and_after_the_command() {
        let cli = Cli::try_parse_from(["outrigger", "--json", "logs", "gate", "-f", "-n", "5", "--timeout", "3s"]);
        let cli = cli.expect("it parses");
        assert!(cli.global.json);
        assert_eq!(cli.global.timeout(), Duration::from_secs(3));
        let logs = match cli.command {
            Command::Client(Client::Logs(logs)) => Some((logs.plugin, logs.follow, logs.lines)),
            _ => None,
        };
        assert_eq!(logs, Some((Some("gate".to_owned()), true, 5)));
        for wrong in [&["outrigger", "status", "A.b"][..], &["outrigger", "replay"], &["outrigger", "logs", "-n", "0"]]
        {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
