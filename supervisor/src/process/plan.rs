//! Writes what the keeper is to start.

use std::io;

use super::keeper::wire::{Head, LIMITS_MAX, PLAN_MAX, STRINGS_MAX};

/// Everything that the keeper needs to know.
pub(super) struct Orders<'a> {
    pub(super) directory: &'a [u8],
    /// `cgroup.procs` of the group that the child enters; empty: none.
    pub(super) group: &'a [u8],
    /// Program and arguments.
    pub(super) command: &'a [String],
    /// `NAME=value` each.
    pub(super) environment: &'a [Vec<u8>],
    pub(super) umask: u32,
    /// Resource, soft, hard.
    pub(super) limits: &'a [[u64; 3]],
}

impl Orders<'_> {
    /// As the keeper reads it.
    ///
    /// # Errors
    /// No program, a zero byte inside a string, or more than fits.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let too_long = || io::Error::from(io::ErrorKind::ArgumentListTooLong);
        if self.command.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        }
        if self.command.len() + self.environment.len() > STRINGS_MAX || self.limits.len() > LIMITS_MAX {
            return Err(too_long());
        }
        let mut head = Head {
            total: 0,
            arguments: u32::try_from(self.command.len()).map_err(|_| too_long())?,
            variables: u32::try_from(self.environment.len()).map_err(|_| too_long())?,
            limits: u32::try_from(self.limits.len()).map_err(|_| too_long())?,
            umask: self.umask,
        };
        let mut bytes = head.encode().to_vec();
        for field in self.limits.iter().flatten() {
            bytes.extend(field.to_ne_bytes());
        }
        let arguments = self.command.iter().map(String::as_bytes);
        let variables = self.environment.iter().map(Vec::as_slice);
        for string in [self.directory, self.group].into_iter().chain(arguments).chain(variables) {
            if string.contains(&0) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in a path, argument or variable"));
            }
            if bytes.len() + string.len() >= PLAN_MAX {
                return Err(too_long());
            }
            bytes.extend(string);
            bytes.push(0);
        }
        head.total = u32::try_from(bytes.len()).map_err(|_| too_long())?;
        bytes.splice(..head.encode().len(), head.encode());
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders<'a>(command: &'a [String], environment: &'a [Vec<u8>]) -> Orders<'a> {
        Orders { directory: b"/", group: b"/g", command, environment, umask: 0o77, limits: &[[4, 0, 0]] }
    }

    #[test]
    fn the_fixed_part_says_what_follows() {
        let command = ["/bin/a".to_owned(), "b".to_owned()];
        let bytes = orders(&command, &[b"X=1".to_vec()]).encode().expect("a sound plan");
        let head = Head::decode(&bytes).expect("a sound fixed part");
        assert_eq!((head.arguments, head.variables, head.limits, head.umask), (2, 1, 1, 0o77));
        assert_eq!(head.total as usize, bytes.len());
        assert!(bytes.ends_with(b"/\0/g\0/bin/a\0b\0X=1\0"));
    }

    #[test]
    fn what_cannot_be_executed_is_refused() {
        let kind = |command: &[String]| orders(command, &[]).encode().map_err(|error| error.kind());
        assert_eq!(kind(&[]), Err(io::ErrorKind::InvalidInput));
        assert_eq!(kind(&["/bin/a\0b".to_owned()]), Err(io::ErrorKind::InvalidInput));
        assert_eq!(kind(&["x".repeat(PLAN_MAX)]), Err(io::ErrorKind::ArgumentListTooLong));
        assert_eq!(kind(&vec![String::new(); STRINGS_MAX + 1]), Err(io::ErrorKind::ArgumentListTooLong));
        assert!(kind(&["x".repeat(PLAN_MAX - 100)]).is_ok());
    }
}
