//! The command line.

use std::collections::BTreeMap;
use std::str::FromStr;

use outrigger_fixtures::faults::{Applicability, FAULTS, Fault, Phase};

/// What the process is asked to do.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    /// The fault; `None` behaves well.
    pub(crate) fault: Option<&'static Fault>,
    /// When it strikes.
    pub(crate) when: Phase,
    /// Tools of the guard.
    pub(crate) tools: Vec<String>,
    /// `KEY=VALUE` arguments.
    pub(crate) options: BTreeMap<String, String>,
    /// What a process that this binary started of itself is for. Not for the command line of people.
    pub(crate) role: Option<String>,
}

impl Arguments {
    /// Reads a command line without the program's name.
    ///
    /// # Errors
    /// One sentence when it makes no sense; the fault or phase is named.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments;
        let mut parsed =
            Self { fault: None, when: Phase::Hook, tools: Vec::new(), options: BTreeMap::new(), role: None };
        let mut when = None;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--fault" => {
                    let name = value()?;
                    let fault = Fault::named(&name).ok_or_else(|| format!("there is no fault `{name}`; see --list"))?;
                    parsed.fault = Some(fault);
                }
                "--when" => {
                    let name = value()?;
                    when = Some(Phase::named(&name).ok_or_else(|| format!("there is no phase `{name}`"))?);
                }
                "--tool" => parsed.tools.push(value()?),
                "--role" => parsed.role = Some(value()?),
                option => match option.split_once('=') {
                    Some((key, value)) if !key.is_empty() && !key.starts_with('-') => {
                        parsed.options.insert(key.to_owned(), value.to_owned());
                    }
                    _ => return Err(format!("`{option}` is not known")),
                },
            }
        }
        if parsed.tools.is_empty() {
            parsed.tools.push("misbehave".to_owned());
        }
        parsed.settle(when)?;
        Ok(parsed)
    }

    /// Checks that the fault can strike when asked to; without a wish it strikes on a hook, or where else it can.
    fn settle(&mut self, when: Option<Phase>) -> Result<(), String> {
        let Some(fault) = self.fault else { return Ok(()) };
        let applies = |phase: &Phase| fault.at(*phase) == Applicability::Applies;
        self.when = when
            .or_else(|| Some(Phase::Hook).filter(applies))
            .or_else(|| Phase::ALL.into_iter().find(applies))
            .ok_or_else(|| format!("{} never applies", fault.name))?;
        if let Applicability::NotApplicable(reason) = fault.at(self.when) {
            return Err(format!("{} does not apply when {}: {reason}", fault.name, self.when));
        }
        for key in fault.required {
            if !self.options.contains_key(*key) {
                return Err(format!("{} needs {key}=", fault.name));
            }
        }
        Ok(())
    }

    /// The fault is this one.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.fault.is_some_and(|fault| fault.name == name)
    }

    /// An option, or `default`; never more than `most`.
    pub(crate) fn number<N: FromStr + Ord>(&self, key: &str, default: N, most: N) -> N {
        self.options.get(key).and_then(|value| value.parse().ok()).unwrap_or(default).min(most)
    }

    /// An option is `yes`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.options.get(key).is_some_and(|value| value == "yes")
    }
}

/// The table of faults, for people.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for fault in FAULTS {
        let phases: Vec<_> = Phase::ALL
            .into_iter()
            .filter(|phase| fault.at(*phase) == Applicability::Applies)
            .map(Phase::name)
            .collect();
        text += &format!("{:26} {} ({})\n", fault.name, fault.about, phases.join(", "));
    }
    text
}
