//! Additions to a prompt.

use outrigger_proto::types::v1::hook_result::Result as Shape;
use outrigger_proto::types::v1::{PromptContribution, ToolList};

use super::{Opinion, sealed};

/// What goes into a prompt, for `agent_turn_prepare`, `before_prompt_build` and `heartbeat_prompt_contribution`. Texts
/// are at most 65,536 characters each; those of several plugins are joined with a blank line.
///
/// ```
/// use outrigger_sdk::Prompt;
///
/// let prompt = Prompt::default().prepend("Answer in one sentence.").append("Ask when in doubt.");
/// assert!(!prompt.is_declined());
/// ```
pub type Prompt = Opinion<PromptContribution>;

impl Prompt {
    /// Goes before the person's prompt.
    #[must_use]
    pub fn prepend(self, text: impl Into<String>) -> Self {
        self.with(|wire| wire.prepend_context = text.into())
    }

    /// Goes after the person's prompt.
    #[must_use]
    pub fn append(self, text: impl Into<String>) -> Self {
        self.with(|wire| wire.append_context = text.into())
    }

    /// Goes before the system prompt. `before_prompt_build` without tool authority only, as the three that follow.
    #[must_use]
    pub fn prepend_system(self, text: impl Into<String>) -> Self {
        self.with(|wire| wire.prepend_system_context = text.into())
    }

    /// Goes after the system prompt.
    #[must_use]
    pub fn append_system(self, text: impl Into<String>) -> Self {
        self.with(|wire| wire.append_system_context = text.into())
    }

    /// Replaces the system prompt, with an empty text too; the first plugin that sets it wins.
    #[must_use]
    pub fn system_prompt(self, text: impl Into<String>) -> Self {
        self.with(|wire| wire.system_prompt = Some(text.into()))
    }

    /// Tools that stay available: canonical lower-case ids, at most 512. None: no tool is left.
    #[must_use]
    pub fn allow_tools(self, tools: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = tools.into_iter().map(Into::into).collect();
        self.with(|wire| wire.tools_allow = Some(ToolList { names }))
    }
}

impl sealed::Wire for PromptContribution {
    fn wrap(self) -> Shape {
        Shape::Prompt(self)
    }

    fn unwrap(shape: Shape) -> Option<Self> {
        if let Shape::Prompt(wire) = shape { Some(wire) } else { None }
    }
}
