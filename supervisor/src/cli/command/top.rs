//! `top`: plugins and what they use, in place on a terminal, once elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;

use super::hooks::micros;
use super::status::{age, colour, list, remarks};
use crate::cli::Context;
use crate::cli::args::TopArgs;
use crate::cli::connection::Admin;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::{Happened, Person, Screen};
use crate::cli::table::{Column, lines};
use crate::cli::terminal::{BOLD, DIM};
use crate::cli::text::{bytes, count, safe};
use crate::cli::view::plugin::Plugin;
use crate::cli::view::supervisor::Supervisor;

/// Processor use is that of so long: what a process uses jumps from one second to the next.
const CPU_WINDOW: Duration = Duration::from_secs(10);
/// How long `--once` waits, beyond its interval, for the supervisor's next look at processes: it looks once a second.
const NEXT_LOOK: Duration = Duration::from_secs(3);
/// How often it asks meanwhile.
const ASK: Duration = Duration::from_millis(100);

const COLUMNS: &[Column] = &[
    Column::new("PLUGIN"),
    Column::new("STATE"),
    Column::new("GEN").right().rank(9),
    Column::new("CPU%").right(),
    Column::new("MEMORY").right(),
    Column::new("PROCS").right().rank(10),
    Column::new("CALLS").right().rank(4),
    Column::new("P50").right().rank(7),
    Column::new("P99").right().rank(5),
    Column::new("DENIALS").right().rank(3),
    Column::new("RESTARTS").right().rank(6),
    Column::new("LAG").right().rank(8),
    Column::new("MESSAGE").cut(),
];

#[derive(Serialize)]
struct Document {
    supervisor: Supervisor,
    plugins: Vec<Row>,
}

/// One plugin and the speed at which it uses processors.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    plugin: Plugin,
    /// 100 is one processor, over the time between two looks of the supervisor. `null`: no process, or not looked at long
    /// enough.
    cpu_percent: Option<f64>,
}

/// Shows plugins and what they use. Ends with `q` or Ctrl-C.
pub(in crate::cli) async fn top(context: &mut Context<'_>, args: TopArgs) -> Result<Exit, Failure> {
    let mut client = context.admin().await?;
    let mut rates = Rates::default();
    if args.once || context.global.json || context.terminal.width.is_none() {
        return once(context, &mut client, &mut rates, args.interval).await;
    }
    let mut person = Person::new().map_err(|error| no_terminal(&error))?;
    let Some(screen) = Screen::take().map_err(|error| no_terminal(&error))? else {
        return once(context, &mut client, &mut rates, args.interval).await;
    };
    live(context, &mut client, &mut rates, args.interval, &screen, &mut person).await
}

fn no_terminal(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the terminal cannot be used: {error}")).remedy("try --once")
}

async fn once(
    context: &mut Context<'_>,
    client: &mut Admin,
    rates: &mut Rates,
    interval: Duration,
) -> Result<Exit, Failure> {
    // Speed needs two looks.
    let first = context.within(list(client)).await?;
    rates.look(&first, Instant::now());
    tokio::time::sleep(interval).await;
    let patience = Instant::now() + NEXT_LOOK;
    let document = loop {
        let document = look(context, client, rates).await?;
        // Between two questions the supervisor may not have looked, which would be no use at all.
        let waits = |row: &Row| row.cpu_percent.is_none() && row.plugin.resources.is_some();
        if !document.plugins.iter().any(waits) || Instant::now() >= patience {
            break document;
        }
        tokio::time::sleep(ASK).await;
    };
    if context.global.json {
        context.document(&document)?;
        return Ok(Exit::Done);
    }
    for line in frame(context, &document, context.terminal.width) {
        context.line(line)?;
    }
    Ok(Exit::Done)
}

async fn live(
    context: &Context<'_>,
    client: &mut Admin,
    rates: &mut Rates,
    interval: Duration,
    screen: &Screen,
    person: &mut Person,
) -> Result<Exit, Failure> {
    // Of what happens while the supervisor is asked only the wish to quit cannot wait; the rest is heard afterwards.
    loop {
        let document = {
            let asking = look(context, client, rates);
            tokio::pin!(asking);
            loop {
                tokio::select! {
                    document = &mut asking => break document?,
                    happened = person.next() => match happened {
                        Happened::Quit => return Ok(Exit::Done),
                        Happened::Suspended => screen.suspend()?,
                        Happened::Resized => {}
                    },
                }
            }
        };
        let next = tokio::time::sleep(interval);
        tokio::pin!(next);
        loop {
            let (width, height) = screen.size();
            let mut lines = frame(context, &document, Some(width));
            let rows = usize::from(height);
            if lines.len() > rows {
                let left_out = lines.len() - rows + 1;
                lines.truncate(rows.saturating_sub(1));
                lines.push(context.terminal.paint(DIM, format!("{left_out} more do not fit")));
            }
            screen.show(&lines)?;
            tokio::select! {
                () = &mut next => break,
                happened = person.next() => match happened {
                    Happened::Quit => return Ok(Exit::Done),
                    Happened::Suspended => screen.suspend()?,
                    Happened::Resized => {}
                },
            }
        }
    }
}

async fn look(context: &Context<'_>, client: &mut Admin, rates: &mut Rates) -> Result<Document, Failure> {
    let supervisor = context.wait(client.get_supervisor(admin::GetSupervisorRequest {})).await?;
    let plugins = context.within(list(client)).await?;
    rates.look(&plugins, Instant::now());
    let row = |plugin: Plugin| Row { cpu_percent: rates.percent(&plugin.plugin_id), plugin };
    Ok(Document { supervisor: supervisor.into(), plugins: plugins.into_iter().map(row).collect() })
}

/// The lines of what is shown.
fn frame(context: &Context<'_>, document: &Document, width: Option<u16>) -> Vec<String> {
    let terminal = &context.terminal;
    let supervisor = &document.supervisor;
    let up = age(context, supervisor.started_at.as_deref()).map(|up| format!(", up {up}")).unwrap_or_default();
    let states: Vec<_> = supervisor.plugins_by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
    let head = format!(
        "outrigger {}{up}   {}{states}   {}",
        safe(&supervisor.version),
        count(document.plugins.len() as u64, "plugin"),
        count(supervisor.runtimes.iter().filter(|runtime| runtime.connected).count() as u64, "runtime"),
    );
    let head: String = head.chars().take(width.map_or(usize::MAX, usize::from)).collect();
    let mut shown = vec![terminal.paint(BOLD, head), String::new()];
    if document.plugins.is_empty() {
        shown.push("no plugins".to_owned());
        return shown;
    }
    let rows: Vec<_> = document.plugins.iter().map(cells).collect();
    for (index, line) in lines(COLUMNS, &rows, width).into_iter().enumerate() {
        // However narrow: a line that wraps would push the others off the screen.
        let line: String = line.chars().take(width.map_or(usize::MAX, usize::from)).collect();
        shown.push(match index.checked_sub(1).and_then(|index| document.plugins.get(index)) {
            None => terminal.paint(DIM, line),
            Some(row) if row.plugin.is_ready() => line,
            Some(row) => terminal.paint(colour(&row.plugin.state), line),
        });
    }
    shown
}

fn cells(row: &Row) -> Vec<String> {
    let plugin = &row.plugin;
    let used = plugin.resources.as_ref();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        plugin.plugin_id.clone(),
        plugin.state.clone(),
        or_dash(plugin.generation.map(|generation| generation.to_string())),
        or_dash(row.cpu_percent.map(|percent| format!("{percent:.1}"))),
        or_dash(used.map(|used| bytes(used.memory_bytes))),
        or_dash(used.map(|used| used.processes.to_string())),
        or_dash(used.map(|used| used.invocations_in_flight.to_string())),
        micros(plugin.p50_us),
        micros(plugin.p99_us),
        plugin.denials.to_string(),
        plugin.restarts.to_string(),
        plugin.event_lag.to_string(),
        remarks(plugin).join("; "),
    ]
}

/// Processor use over the last looks.
#[derive(Default)]
struct Rates(BTreeMap<String, VecDeque<Look>>);

struct Look {
    at: Instant,
    /// By the supervisor's clock; `None`: it does not tell, and the time is that of the answer.
    sampled_at: Option<Duration>,
    /// The process that used it.
    pid: u32,
    cpu_time_ms: u64,
}

impl Rates {
    fn look(&mut self, plugins: &[Plugin], now: Instant) {
        self.0.retain(|id, _| plugins.iter().any(|plugin| plugin.plugin_id == *id));
        for plugin in plugins {
            let looks = self.0.entry(plugin.plugin_id.clone()).or_default();
            let cpu_time_ms = plugin.resources.as_ref().and_then(|used| used.cpu_time_ms);
            let (Some(pid), Some(cpu_time_ms)) = (plugin.pid, cpu_time_ms) else {
                looks.clear();
                continue;
            };
            // Another process began anew; and what a tree used can shrink with it.
            if looks.back().is_some_and(|last| last.pid != pid || last.cpu_time_ms > cpu_time_ms) {
                looks.clear();
            }
            // The one before the window stays, so that the window is full.
            while looks.get(1).is_some_and(|second| now.duration_since(second.at) >= CPU_WINDOW) {
                looks.pop_front();
            }
            let sampled_at = plugin.resources.as_ref().and_then(|used| used.sampled_at);
            // The supervisor's clock was set, or it has not looked since.
            if looks.back().is_some_and(|last| last.sampled_at > sampled_at) {
                looks.clear();
            }
            if sampled_at.is_some() && looks.back().is_some_and(|last| last.sampled_at == sampled_at) {
                continue;
            }
            looks.push_back(Look { at: now, sampled_at, pid, cpu_time_ms });
        }
    }

    /// 100 is one processor, with one decimal. `None`: there are not two looks at the same process yet.
    fn percent(&self, plugin: &str) -> Option<f64> {
        let looks = self.0.get(plugin)?;
        let (first, last) = (looks.front()?, looks.back()?);
        let passed = match (first.sampled_at, last.sampled_at) {
            (Some(first), Some(last)) => last.saturating_sub(first),
            _ => last.at.duration_since(first.at),
        };
        let passed = passed.as_secs_f64() * 1e3;
        let used = last.cpu_time_ms.saturating_sub(first.cpu_time_ms);
        (passed > 0.0).then(|| (used as f64 / passed * 1_000.0).round() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(pid: u32, cpu_time: Duration) -> Plugin {
        let resources =
            admin::ResourceUse { cpu_time: prost_types::Duration::try_from(cpu_time).ok(), ..Default::default() };
        let resources = (pid != 0).then_some(resources);
        admin::PluginStatus { plugin_id: "p".to_owned(), pid, resources, ..Default::default() }.into()
    }

    #[test]
    fn processor_use_is_that_of_the_last_seconds_of_one_process() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut rates = Rates::default();
        rates.look(&[plugin(7, second)], begin);
        assert_eq!(rates.percent("p"), None, "one look is none");
        rates.look(&[plugin(7, second * 3)], begin + second * 4);
        assert_eq!(rates.percent("p"), Some(50.0));
        for at in 5..30 {
            rates.look(&[plugin(7, second * 3)], begin + second * at);
        }
        assert_eq!(rates.percent("p"), Some(0.0), "long ago");
        assert!(rates.0["p"].len() <= 12, "{}", rates.0["p"].len());
        rates.look(&[plugin(8, second)], begin + second * 31);
        assert_eq!(rates.percent("p"), None, "another process");
        rates.look(&[plugin(0, second)], begin + second * 32);
        assert_eq!(rates.percent("p"), None, "no process");
        rates.look(&[], begin + second * 33);
        assert!(rates.0.is_empty());
    }

    /// Two answers that tell of one look are one; and the time that counts is the one between looks.
    #[test]
    fn processor_use_is_that_between_looks_of_the_supervisor() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let sampled = |cpu_time: Duration, at: Duration| {
            let mut plugin = plugin(7, cpu_time);
            if let Some(used) = &mut plugin.resources {
                used.sampled_at = Some(second * 1_000 + at);
            }
            plugin
        };
        let mut rates = Rates::default();
        rates.look(&[sampled(second, Duration::ZERO)], begin);
        rates.look(&[sampled(second, Duration::ZERO)], begin + second / 2);
        assert_eq!(rates.percent("p"), None, "the supervisor has not looked again");
        rates.look(&[sampled(second * 2, second)], begin + second * 3 / 5);
        assert_eq!(rates.percent("p"), Some(100.0), "one second in one second, however soon it was asked for");
        rates.look(&[sampled(second * 2, Duration::ZERO)], begin + second * 4);
        assert_eq!(rates.percent("p"), None, "its clock was set back");
        rates.look(&[], begin + second * 5);
        assert!(rates.0.is_empty());
    }
}
