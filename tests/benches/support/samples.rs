//! What the rounds measured, by name, and rows made of it.

use std::collections::BTreeMap;

use super::measure::Numbers;
use super::rows::{Bound, Middle, Row, Unit, Values};

/// One value for each round, by name.
#[derive(Default)]
pub(crate) struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    /// Adds the numbers of one window.
    pub(crate) fn push(&mut self, host: &str, kind: &str, numbers: &Numbers) {
        for (name, value) in numbers {
            self.0.entry(format!("{host} {kind} {name}")).or_default().push(*value);
        }
    }

    fn values(&self, name: &str) -> std::result::Result<&Vec<f64>, String> {
        self.0.get(name).ok_or_else(|| format!("no `{name}`"))
    }

    fn middle(&self, name: &str) -> std::result::Result<Middle, String> {
        Middle::of(self.values(name)?.clone()).ok_or_else(|| format!("no `{name}`"))
    }

    /// A row with ratios round by round.
    pub(crate) fn ratio(&self, what: &str, unit: Unit, ours: &str, against: (&'static str, &str), bound: Bound) -> Row {
        let values = || {
            let (mine, theirs) = (self.values(ours)?, self.values(against.1)?);
            let ratios = mine.iter().zip(theirs).map(|(mine, theirs)| mine / theirs).collect();
            let ratio = Middle::of(ratios);
            Ok(Values { ours: self.middle(ours)?, theirs: Some((against.0, self.middle(against.1)?)), ratio })
        };
        Row { what: what.to_owned(), values: values(), bound, unit }
    }

    /// A row without a comparator.
    pub(crate) fn alone(&self, what: &str, unit: Unit, ours: &str, bound: Bound) -> Row {
        let values = self.middle(ours).map(|ours| Values { ours, theirs: None, ratio: None });
        Row { what: what.to_owned(), values, bound, unit }
    }
}
