//! One call of a tool on its way: taken in, progress passed on, its end told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use outrigger_proto::plugin::v1 as wire;
use outrigger_proto::plugin::v1::invocation_result::Outcome as Answer;
use outrigger_proto::types::v1::{self as types, ErrorReason, HandlerOutcome as Fared};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Status;

use super::answer;
use crate::domain::text;
use crate::service::decisions::{self, Subject};
use crate::service::dispatch::Dispatcher;
use crate::service::invocation;
use crate::service::registry::{Listed, Registry};
use crate::service::runs::Run;
use crate::service::session::{Ask, InvokeError, Progress, Session, ToolError};
use crate::service::status::Failure;
use crate::service::view::PASSES;

/// Shortest time between two news of progress: at most 10 a second.
const BETWEEN: Duration = Duration::from_millis(100);

/// News of a call.
pub(super) enum News {
    /// How far it has come.
    Progress(types::ToolProgress),
    /// Its end.
    Result {
        result: types::ToolResult,
        /// The plugin was not called.
        arguments_invalid: bool,
    },
}

/// A call, checked but for what the plugin and the decision say.
pub(super) struct Call {
    pub(super) listed: Listed,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pub(super) runtime_id: Arc<str>,
    /// One that the runtime announced.
    pub(super) session: Option<types::SessionRef>,
    pub(super) run: Option<Arc<Run>>,
    pub(super) asked: wire::ToolCall,
    pub(super) trace: Option<types::TraceContext>,
    /// The decision given, and what it must be about; `None` there: nothing fits.
    pub(super) decision: Option<(String, Option<Subject>)>,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) registry: Arc<Registry>,
}

/// How the plugin fared, and what the caller hears of it.
struct End {
    /// `None`: it was not asked, or nobody waits for its answer.
    fared: Option<Fared>,
    told: Result<types::ToolResult, Failure>,
}

impl Call {
    /// Carries the call out and tells what becomes of it, until its caller is gone: then it is cancelled.
    pub(super) async fn drive<T>(
        self,
        removed: impl Future<Output = ()>,
        sender: mpsc::Sender<Result<T, Status>>,
        tell: impl Fn(News) -> T,
    ) {
        // Kept here, too, so that the last news are there when the answer is.
        let progress: Progress = watch::channel(None).0;
        let mut news = progress.subscribe();
        let mut next = Instant::now();
        let mut sent = None;
        let told = {
            let mut removed = std::pin::pin!(removed);
            let mut call = std::pin::pin!(self.carry_out(&progress));
            loop {
                tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    told = &mut call => break told,
                    () = &mut removed => break Err(crate::service::runtime_service::key_removed()),
                    permit = ready(&mut news, next, &sender) => {
                        let newest = news.borrow_and_update().clone();
                        if let (Some(permit), Some(newest)) = (permit, newest) {
                            sent = Some(newest.clone());
                            permit.send(Ok(tell(News::Progress(newest))));
                        }
                        next = Instant::now() + BETWEEN;
                    }
                }
            }
        };
        // News that still waited for their turn come before the answer.
        let last = news.borrow().clone().filter(|last| sent.as_ref() != Some(last) && told.is_ok());
        if let Some(last) = last
            && sender.send(Ok(tell(News::Progress(last)))).await.is_err()
        {
            return;
        }
        let end = match told {
            Ok(result) => Ok(tell(News::Result { result, arguments_invalid: false })),
            Err(failure) => Err(failure.into()),
        };
        // A caller that is gone needs no end.
        let _ = sender.send(end).await;
    }

    async fn carry_out(&self, progress: &Progress) -> Result<types::ToolResult, Failure> {
        let view = &self.listed.part.view;
        let counts = view.tool(&self.listed.tool().name);
        let Some(admitted) = counts.admit(Instant::now()) else {
            let why = format!("`{}` is not asked: the breaker of its tool `{}` is open", view.id, self.asked.name);
            return Err(crate::service::core::absent(view, why));
        };
        let End { fared, told } = tokio::select! {
            biased;
            end = self.ask(progress) => end,
            end = self.run_ended() => end,
        };
        if let Some(fared) = fared {
            let now = Instant::now();
            let was_open = counts.is_open(now);
            let opened = counts.record(admitted.settle(), fared, now, now.duration_since(self.started));
            if let Some(open) = opened {
                self.say(&format!("the breaker of tool `{}` opened for {open:.1?}", self.asked.name));
            }
            if was_open || opened.is_some() {
                self.registry.tools_changed(&view.id);
            }
        }
        told
    }

    fn say(&self, text: &str) {
        let view = &self.listed.part.view;
        let generation = view.serving().map(|session| session.generation).unwrap_or_default();
        tracing::warn!(plugin = %view.id, tool = self.asked.name, "{text}");
        view.logs.say(SystemTime::now(), generation, "warn", text.to_owned());
    }

    /// Asks the plugin, in whatever generation serves by then. The decision is used up as the first takes the call in.
    async fn ask(&self, progress: &Progress) -> End {
        let view = &self.listed.part.view;
        let not_asked = |failure| End { fared: None, told: Err(failure) };
        let taken_in = AtomicBool::new(false);
        let mut last = None;
        for _ in 0..PASSES {
            let Some(session) = view.serving().filter(|session| last != Some(session.generation)) else { break };
            last = Some(session.generation);
            let Some((place, served)) = session.registration.served(&self.asked.name) else { break };
            let ask = Ask::new(place, Instant::now(), self.deadline, self.invocation(&session));
            let ask = ask.of_run(self.run.clone());
            // Only one generation after the other is asked.
            let gate = || {
                let passes = taken_in.load(Ordering::Relaxed) || self.redeem();
                taken_in.store(passes, Ordering::Relaxed);
                passes
            };
            let answer = session.invoke_tool(ask, gate, progress.clone()).await;
            let error = match answer {
                Ok(answer) => return self.answered(&session, served.output.is_some(), answer).await,
                Err(error) => error,
            };
            match error {
                ToolError::Failed(InvokeError::NotServing) => {}
                ToolError::Failed(error) => return self.failed(&session, error),
                ToolError::Refused => {
                    let id = self.decision.as_ref().map(|(id, _)| id.as_str()).unwrap_or_default();
                    return not_asked(decisions::unknown(id));
                }
            }
        }
        if !taken_in.load(Ordering::Relaxed) {
            return not_asked(super::absent(&self.listed));
        }
        // Its decision is used up: the same call cannot be made again.
        let why = format!("`{}` ended before it came to the call", view.id);
        let generation = last.unwrap_or_default().to_string();
        let failure = Failure::new(ErrorReason::PluginEnded, why).meta("plugin_id", view.id.as_str());
        not_asked(failure.meta("generation", generation))
    }

    /// Waits for the end of the run.
    async fn run_ended(&self) -> End {
        let Some(run) = &self.run else { return std::future::pending().await };
        run.ended.cancelled().await;
        End { fared: None, told: Err(invocation::run_ended(&run.id)) }
    }

    fn redeem(&self) -> bool {
        let Some((id, subject)) = &self.decision else { return true };
        let fits = |given: &Subject| subject.as_ref() == Some(given);
        self.dispatcher.decisions.redeem(&self.runtime_id, id, Instant::now(), fits)
    }

    fn invocation(&self, session: &Session) -> wire::Invocation {
        wire::Invocation {
            handler_id: self.asked.name.clone(),
            session: self.session.as_ref().map(|reference| session.handles.session(reference)),
            run: self.run.as_ref().map(|run| {
                let run = types::RunRef { id: run.id.to_string(), handle: String::new() };
                session.handles.run(&self.runtime_id, &run)
            }),
            trace: self.trace.clone(),
            call: Some(wire::invocation::Call::Tool(self.asked.clone())),
            ..Default::default()
        }
    }

    /// What an answer comes to.
    async fn answered(&self, session: &Session, has_output: bool, answer: Answer) -> End {
        let invalid = |why: &str| {
            session.notice(wire::NoticeKind::ResultInvalid, 0, &self.asked.name, text::clean(why, 500));
            session.invalid_answer();
            self.broke(&format!("gave an invalid answer: {}", text::clean(why, 500)))
        };
        let result = match answer {
            Answer::Tool(result) => result,
            Answer::Failed(failed) => {
                let words = text::clean(&failed.message, 500);
                return self.broke(&format!("failed: {words}"));
            }
            _ => return invalid("the answer is of another kind than the call"),
        };
        let tool = self.listed.tool().name.clone();
        let registration_tools = Arc::clone(&session.registration.tools);
        let check = move || {
            let known = registration_tools.iter().find(|known| known.name == tool);
            let output = known.and_then(|known| known.served.as_ref()?.output.as_ref()).filter(|_| has_output);
            answer::check(&result, output).map(|()| result)
        };
        let checked = tokio::task::spawn_blocking(check).await;
        match checked.unwrap_or_else(|_| Err("it could not be read".to_owned())) {
            Ok(result) => End { fared: Some(Fared::Allow), told: Ok(result) },
            Err(why) => invalid(&why),
        }
    }

    /// The tool has failed; what it says is for the log only.
    fn broke(&self, why: &str) -> End {
        self.say(&format!("tool `{}` {why}", self.asked.name));
        let id = self.listed.part.view.id.as_str();
        let failure = Failure::new(ErrorReason::PluginFailed, format!("tool `{}` of `{id}` failed", self.asked.name));
        End { fared: Some(Fared::Error), told: Err(failure.meta("plugin_id", id)) }
    }

    /// What the lack of an answer comes to.
    fn failed(&self, session: &Session, error: InvokeError) -> End {
        let (id, tool) = (self.listed.part.view.id.as_str(), self.asked.name.as_str());
        let failure =
            |reason, why: String| Failure::new(reason, format!("tool `{tool}` of `{id}` {why}")).meta("plugin_id", id);
        match error {
            InvokeError::NotServing => End { fared: None, told: Err(super::absent(&self.listed)) },
            InvokeError::Overloaded => {
                let why = "is not called: too many calls wait for the plugin already".to_owned();
                let failure = failure(ErrorReason::PluginOverloaded, why).retry(Duration::from_secs(1));
                End { fared: None, told: Err(failure) }
            }
            InvokeError::TimedOut { sent } => {
                let what = if sent { "did not answer in time" } else { "was not reached in time: the plugin is busy" };
                let elapsed = self.started.elapsed();
                self.say(&format!("tool `{tool}` {what} ({elapsed:.1?})"));
                let timeout = format!("{:?}", self.deadline.duration_since(self.started));
                let failure = failure(ErrorReason::PluginTimedOut, what.to_owned()).meta("timeout", timeout);
                End { fared: Some(Fared::Timeout), told: Err(failure) }
            }
            InvokeError::Ended(why) => {
                let failure = failure(ErrorReason::PluginEnded, format!("ended: {why}"));
                let failure = failure.meta("generation", session.generation.to_string());
                End { fared: Some(Fared::Error), told: Err(failure) }
            }
            InvokeError::TooLarge { bytes, max } => {
                self.broke(&format!("cannot be called: the call has {bytes} bytes, the plugin can receive {max}"))
            }
        }
    }
}

/// Waits for news that may be told, and for room for them. `None`: there is no more room, for good.
async fn ready<'a, T>(
    news: &mut watch::Receiver<Option<types::ToolProgress>>,
    next: Instant,
    sender: &'a mpsc::Sender<T>,
) -> Option<mpsc::Permit<'a, T>> {
    if news.changed().await.is_err() {
        // It cannot be: the call holds the other end.
        return std::future::pending().await;
    }
    tokio::time::sleep_until(next).await;
    sender.reserve().await.ok()
}
