//! `call`: one hook or tool of one plugin, for debugging.

use std::io::Read;
use std::time::Duration;

use outrigger_proto::admin::v1 as admin;
use serde::Serialize;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::args::CallArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::json;
use crate::cli::terminal::{BAD, GOOD, WARN};
use crate::cli::text::{duration, safe};
use crate::cli::view::handler::Report;
use crate::cli::view::hook_result;

/// Longest event and context together (§14).
const MAX_PAYLOAD_BYTES: u64 = 3 << 20;

#[derive(Serialize)]
struct Document {
    /// What the plugin answered. `null`: it declined, or only completed.
    result: Value,
    report: Option<Report>,
}

/// Invokes a hook. Exit code 5 where the plugin said no, 4 where it did not answer.
pub(in crate::cli) async fn call(context: &mut Context<'_>, args: CallArgs) -> Result<Exit, Failure> {
    let Some(hook) = args.hook else { return run_tool(context, args).await };
    let request = admin::InvokePluginHookRequest {
        plugin_id: args.plugin,
        handler_id: args.handler.unwrap_or_default(),
        hook: hook as i32,
        event_json: read_object("--event", args.event.as_deref().unwrap_or_default())?.into(),
        context_json: args
            .context
            .as_deref()
            .map_or(Ok(Vec::new()), |context| read_object("--context", context))?
            .into(),
        tool_name: args.tool.unwrap_or_default(),
        canary: args.canary,
    };
    let mut client = context.admin().await?;
    let answer = context.wait(client.invoke_plugin_hook(request)).await?;
    let report = answer.report.map(Report::from);
    let outcome = report.as_ref().map(|report| report.outcome.clone()).unwrap_or_default();
    let blocked = hook_result::block(answer.result.as_ref());
    let exit = match outcome.as_str() {
        "deny" => Exit::Denied,
        "error" | "timeout" | "absent" => Exit::Plugin,
        _ if blocked.is_some() => Exit::Denied,
        _ => Exit::Done,
    };
    let result = answer.result.map_or(Value::Null, hook_result::value);
    let document = Document { result, report };
    if context.global.json {
        context.document(&document)?;
        return Ok(exit);
    }
    if let Some(report) = &document.report {
        let style = match exit {
            Exit::Done => GOOD,
            Exit::Denied => WARN,
            _ => BAD,
        };
        let word = context.terminal.paint(style, safe(&report.outcome));
        let elapsed = report.elapsed_us.map(Duration::from_micros).map(duration).unwrap_or_default();
        let message = report.message.as_deref().map(|message| format!(": {}", safe(message))).unwrap_or_default();
        context.line(format!(
            "{}/{} {word} in {elapsed}{message}",
            safe(&report.plugin_id),
            safe(&report.handler_id)
        ))?;
    }
    match &document.result {
        Value::Null => context.line("no opinion")?,
        result => context.line(json::document(result))?,
    }
    Ok(exit)
}

/// What a tool answered, with its progress.
#[derive(Serialize)]
struct ToolDocument {
    is_error: bool,
    /// Its parts: `text`, `value`, or what else it is.
    content: Vec<Value>,
    /// `null`: none.
    structured: Value,
    progress: Vec<Value>,
}

/// Runs a tool. Exit code 4 where it says that something went wrong, or the plugin did not answer.
async fn run_tool(context: &mut Context<'_>, args: CallArgs) -> Result<Exit, Failure> {
    use admin::invoke_plugin_tool_response::Event;
    let object = |option: &str, given: Option<&str>| given.map_or(Ok(Vec::new()), |given| read_object(option, given));
    let request = admin::InvokePluginToolRequest {
        plugin_id: args.plugin,
        tool_name: args.tool.unwrap_or_default(),
        arguments_json: object("--args", args.args.as_deref())?.into(),
        context_json: object("--context", args.context.as_deref())?.into(),
        ..Default::default()
    };
    let mut client = context.admin().await?;
    let mut stream = context.wait(client.invoke_plugin_tool(request)).await?;
    let mut progress = Vec::new();
    loop {
        let next = async { Ok(stream.message().await?) };
        let Some(message) = context.within(next).await? else {
            return Err(Failure::new(Exit::Plugin, "the call ended without a result"));
        };
        match message.event {
            Some(Event::Progress(news)) if context.global.json => {
                let message = (!news.message.is_empty()).then_some(news.message);
                progress.push(serde_json::json!({ "done": news.done, "total": news.total, "message": message }));
            }
            Some(Event::Progress(news)) => {
                let total = if news.total > 0.0 { format!(" of {}", news.total) } else { String::new() };
                context.line(format!("{}{total} {}", news.done, safe(&news.message)).trim_end())?;
                context.flush()?;
            }
            Some(Event::Result(result)) => return show_result(context, result, progress),
            None => {}
        }
    }
}

fn show_result(
    context: &mut Context<'_>,
    result: outrigger_proto::types::v1::ToolResult,
    progress: Vec<Value>,
) -> Result<Exit, Failure> {
    use outrigger_proto::types::v1::tool_content::Part;
    let exit = if result.is_error { Exit::Plugin } else { Exit::Done };
    let parse = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap_or(Value::Null);
    let part = |part: Part| match part {
        Part::Text(text) => serde_json::json!({ "text": text }),
        Part::ValueJson(value) => serde_json::json!({ "value": parse(&value) }),
        Part::Image(image) => {
            serde_json::json!({ "image": { "media_type": image.media_type, "bytes": image.data.len() } })
        }
        Part::File(file) => serde_json::json!({ "file": { "name": file.file_name, "path": file.staged_path } }),
    };
    let structured = parse(&result.structured_json);
    let content: Vec<Value> = result.content.into_iter().filter_map(|content| content.part).map(part).collect();
    let document = ToolDocument { is_error: result.is_error, content, structured, progress };
    if context.global.json {
        context.document(&document)?;
        return Ok(exit);
    }
    let (style, word) = if document.is_error { (BAD, "error") } else { (GOOD, "result") };
    let word = context.terminal.paint(style, word);
    context.line(&word)?;
    for part in &document.content {
        match part.get("text").and_then(Value::as_str) {
            Some(text) => {
                for line in text.lines() {
                    context.line(safe(line))?;
                }
            }
            None => context.line(json::document(part))?,
        }
    }
    if !document.structured.is_null() {
        context.line(json::document(&document.structured))?;
    }
    Ok(exit)
}

/// A JSON object: as given, from `@FILE`, or from standard input for `-`.
fn read_object(option: &str, given: &str) -> Result<Vec<u8>, Failure> {
    let wrong = |what: String| Failure::new(Exit::Usage, what);
    let text = match given.strip_prefix('@') {
        Some(path) => read(std::fs::File::open(path), path).map_err(wrong)?,
        None if given == "-" => read(Ok(std::io::stdin().lock()), "standard input").map_err(wrong)?,
        None => given.as_bytes().to_vec(),
    };
    match serde_json::from_slice::<Value>(&text) {
        Ok(Value::Object(_)) => Ok(text),
        Ok(_) => Err(wrong(format!("{option} is JSON, but not an object"))
            .remedy(format!("for instance {option} '{{\"toolName\":\"exec\",\"params\":{{\"command\":\"ls\"}}}}'"))),
        Err(error) => Err(wrong(format!("{option} is not JSON: {error}"))),
    }
}

fn read<R: Read>(source: std::io::Result<R>, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    source
        .and_then(|source| source.take(MAX_PAYLOAD_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_PAYLOAD_BYTES {
        return Err(format!("{name} is longer than {MAX_PAYLOAD_BYTES} bytes"));
    }
    Ok(bytes)
}
