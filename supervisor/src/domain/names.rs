//! Names that manifests claim and registrations use: tools, commands, fields of a session's entry.

/// Names by which runtimes also know a tool of another id: a guard for one would guard nothing. (`Write` and `Edit` are
/// such names too; `write` and `edit` are the tools' own.)
pub const TOOL_ALIASES: &[&str] = &["bash", "exec_command", "apply-patch", "Write", "Edit", "agent"];

/// Members that every object of some runtimes inherits: a field of this name would hide or change them.
const INHERITED: &[&str] = &[
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "prototype",
    "toLocaleString",
    "toString",
    "valueOf",
];

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}; {}", self.wrong(), self.right())]
pub enum NameError {
    /// A tool id has another shape.
    Tool,
    /// A tool id stands for others.
    Wildcard,
    /// A tool id is the alias of another.
    Alias,
    /// A command has another shape.
    Command,
    /// A field has another shape.
    Field,
    /// Every object has such a member.
    Inherited,
}

impl NameError {
    /// What is wrong, to follow the name.
    #[must_use]
    pub fn wrong(self) -> &'static str {
        match self {
            Self::Tool => "is not a tool id",
            Self::Wildcard => "has a wildcard",
            Self::Alias => "is an alias of a tool",
            Self::Command => "is not the name of a command",
            Self::Field => "is not the name of an entry's field",
            Self::Inherited => "is a member that every object inherits",
        }
    }

    /// What would be right.
    #[must_use]
    pub fn right(self) -> &'static str {
        match self {
            Self::Tool => "1 to 128 of a-z, 0-9, `_`, `-`, `.` and `:`, beginning with a letter or digit",
            Self::Wildcard => "name the tools one by one, or none to mean all",
            Self::Alias => "the tool's own id",
            Self::Command => "1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter",
            Self::Field => "1 to 64 of A-Z, a-z, 0-9 and `_`, beginning with a letter",
            Self::Inherited => "another name",
        }
    }
}

/// Checks a tool id: canonical, lower-case, no wildcard, no alias.
///
/// # Errors
/// What is wrong with it.
pub fn tool(name: &str) -> Result<(), NameError> {
    if name.contains(['*', '?']) {
        return Err(NameError::Wildcard);
    }
    if TOOL_ALIASES.contains(&name) {
        return Err(NameError::Alias);
    }
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let rest = |byte: u8| first(byte) || matches!(byte, b'_' | b'-' | b'.' | b':');
    shape(name, 128, first, rest).then_some(()).ok_or(NameError::Tool)
}

/// Checks the name or alias of a command.
///
/// # Errors
/// What is wrong with it.
pub fn command(name: &str) -> Result<(), NameError> {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    shape(name, 64, |byte| byte.is_ascii_lowercase(), rest).then_some(()).ok_or(NameError::Command)
}

/// Checks the name of a slot or entry field.
///
/// # Errors
/// What is wrong with it.
pub fn field(name: &str) -> Result<(), NameError> {
    if INHERITED.contains(&name) {
        return Err(NameError::Inherited);
    }
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    shape(name, 64, |byte| byte.is_ascii_alphabetic(), rest).then_some(()).ok_or(NameError::Field)
}

fn shape(name: &str, longest: usize, first: impl Fn(u8) -> bool, rest: impl Fn(u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    bytes.len() <= longest && bytes.first().is_some_and(|&byte| first(byte)) && bytes.iter().all(|&byte| rest(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_canonical() {
        let long = "a".repeat(128);
        for good in ["exec", "write", "edit", "deploy_status", "mcp:files.read", "0day", long.as_str()] {
            assert_eq!(tool(good), Ok(()), "{good}");
        }
        for bad in ["", "Exec", "-a", "a b", "ä", &"a".repeat(129)] {
            assert_eq!(tool(bad), Err(NameError::Tool), "{bad}");
        }
        for alias in ["bash", "exec_command", "apply-patch", "Write", "Edit", "agent"] {
            assert_eq!(tool(alias), Err(NameError::Alias), "{alias}");
        }
        for wildcard in ["*", "mcp*", "ex?c"] {
            assert_eq!(tool(wildcard), Err(NameError::Wildcard), "{wildcard}");
        }
    }

    #[test]
    fn commands_and_fields_have_their_shapes() {
        assert_eq!(command("plan-mode_2"), Ok(()));
        for bad in ["", "2plan", "Plan", "a.b", &"a".repeat(65)] {
            assert_eq!(command(bad), Err(NameError::Command), "{bad}");
        }
        assert_eq!(field("goalState_1"), Ok(()));
        for bad in ["", "_x", "__proto__", "1a", "a-b", &"a".repeat(65)] {
            assert_eq!(field(bad), Err(NameError::Field), "{bad}");
        }
        assert_eq!(field("toString"), Err(NameError::Inherited));
    }
}
