//! The table: each row is judged against its goal and its floor, for people and for programs.

use std::fmt;

use serde_json::{Value, json};

/// Where a value should lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// Not above the goal; above the floor is a defect.
    AtMost(f64, f64),
    /// Not below the goal; below the floor is a defect.
    AtLeast(f64, f64),
    /// Printed beside the others.
    Shown,
}

/// What a number counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Nanoseconds, shown as microseconds or milliseconds.
    Nanos,
    /// Calls, or events, a second.
    Rate,
    /// Bytes.
    Bytes,
}

/// The middle of the rounds, and how far they went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Middle {
    /// Median.
    pub(crate) median: f64,
    /// Least of all rounds.
    pub(crate) least: f64,
    /// Most of all rounds.
    pub(crate) most: f64,
}

impl Middle {
    /// Of one value for each round. `None` without values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        Some(Self { median: values[values.len() / 2], least, most })
    }
}

/// One row.
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// Our number, the comparator's name and number, and the median of the ratios of each round.
    pub(crate) values: Result<Values, String>,
    /// Where the ratio, or without a comparator the number, should lie.
    pub(crate) bound: Bound,
    /// What the numbers count.
    pub(crate) unit: Unit,
}

/// What was measured of a row.
pub(crate) struct Values {
    /// Ours.
    pub(crate) ours: Middle,
    /// The comparator and its number.
    pub(crate) theirs: Option<(&'static str, Middle)>,
    /// Ours by theirs.
    pub(crate) ratio: Option<Middle>,
}

/// How a row came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The goal is met.
    Goal,
    /// Between goal and floor.
    Floor,
    /// A defect.
    Defect,
    /// It has no bound.
    Shown,
    /// It was not measured.
    Unmeasured,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Goal => "goal met",
            Self::Floor => "misses goal",
            Self::Defect => "BELOW FLOOR",
            Self::Shown => "",
            Self::Unmeasured => "not measured",
        }
    }
}

impl Row {
    /// How it came out.
    pub(crate) fn verdict(&self) -> Verdict {
        let Ok(values) = &self.values else { return Verdict::Unmeasured };
        let value = values.ratio.unwrap_or(values.ours).median;
        match self.bound {
            Bound::Shown => Verdict::Shown,
            Bound::AtMost(goal, _) if value <= goal => Verdict::Goal,
            Bound::AtMost(_, floor) if value <= floor => Verdict::Floor,
            Bound::AtLeast(goal, _) if value >= goal => Verdict::Goal,
            Bound::AtLeast(_, floor) if value >= floor => Verdict::Floor,
            Bound::AtMost(..) | Bound::AtLeast(..) => Verdict::Defect,
        }
    }

    fn bounds(&self) -> (String, String) {
        let ratio = self.values.as_ref().is_ok_and(|values| values.ratio.is_some());
        let shown = |value: f64| match self.unit {
            Unit::Bytes if !ratio && value >= 16.0 => show(value, self.unit),
            _ => format!("{value}"),
        };
        match self.bound {
            Bound::AtMost(goal, floor) => (format!("<= {}", shown(goal)), format!("<= {}", shown(floor))),
            Bound::AtLeast(goal, floor) => (format!(">= {}", shown(goal)), format!(">= {}", shown(floor))),
            Bound::Shown => (String::new(), String::new()),
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let middle = |middle: &Middle| json!({ "median": middle.median, "min": middle.least, "max": middle.most });
        let (goal, floor, direction) = match self.bound {
            Bound::AtMost(goal, floor) => (Some(goal), Some(floor), Some("at most")),
            Bound::AtLeast(goal, floor) => (Some(goal), Some(floor), Some("at least")),
            Bound::Shown => (None, None, None),
        };
        let unit = match self.unit {
            Unit::Nanos => "ns",
            Unit::Rate => "1/s",
            Unit::Bytes => "bytes",
        };
        let mut row = json!({
            "row": self.what, "unit": unit, "goal": goal, "floor": floor, "bound": direction,
            "verdict": self.verdict().name(),
        });
        match &self.values {
            Ok(values) => {
                row["ours"] = middle(&values.ours);
                if let Some((name, theirs)) = &values.theirs {
                    row["comparator"] = json!(name);
                    row["theirs"] = middle(theirs);
                }
                row["ratio"] = values.ratio.as_ref().map_or(Value::Null, middle);
            }
            Err(why) => row["why"] = json!(why),
        }
        row
    }
}

fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanos if value < 1e6 => format!("{:.1} us", value / 1e3),
        Unit::Nanos => format!("{:.2} ms", value / 1e6),
        Unit::Rate => format!("{:.1}k/s", value / 1e3),
        Unit::Bytes => format!("{:.0} KiB", value / 1024.0),
    }
}

/// All rows, for people.
pub(crate) struct Table<'a>(pub(crate) &'a [Row]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "ours", "against", "", "ratio", "min - max", "goal", "floor", ""].map(str::to_owned);
        let mut lines = vec![head];
        for row in self.0 {
            let (goal, floor) = row.bounds();
            let verdict = row.verdict().name().to_owned();
            let what = row.what.clone();
            lines.push(match &row.values {
                Ok(values) => {
                    let number = |middle: Middle| show(middle.median, row.unit);
                    let (name, theirs) =
                        values.theirs.map_or_else(Default::default, |(name, theirs)| (name.to_owned(), number(theirs)));
                    let ratio = values.ratio.map_or_else(String::new, |ratio| format!("{:.3}", ratio.median));
                    let spread = values
                        .ratio
                        .map_or_else(String::new, |ratio| format!("{:.3} - {:.3}", ratio.least, ratio.most));
                    [what, number(values.ours), name, theirs, ratio, spread, goal, floor, verdict]
                }
                Err(why) => {
                    let none = String::new;
                    [what, none(), none(), none(), none(), none(), goal, floor, format!("{verdict}: {why}")]
                }
            });
        }
        let widths: Vec<usize> = (0..9)
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
            .collect();
        for line in lines {
            let mut text = String::new();
            for (column, cell) in line.iter().enumerate() {
                let width = widths[column];
                // Numbers to the right, words to the left.
                let right = matches!(column, 1 | 3 | 4);
                text += &if right { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// The rows that miss their goal, a line each; what explains them is for people to say.
pub(crate) struct Missed<'a>(pub(crate) &'a [Row]);

impl fmt::Display for Missed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed: Vec<&Row> =
            self.0.iter().filter(|row| matches!(row.verdict(), Verdict::Floor | Verdict::Defect)).collect();
        writeln!(f, "goals missed: {}", missed.len())?;
        for row in missed {
            let Ok(values) = &row.values else { continue };
            let (goal, floor) = row.bounds();
            let against = values.theirs.map_or_else(String::new, |(name, _)| format!(" by {name}"));
            let value =
                values.ratio.map_or_else(|| show(values.ours.median, row.unit), |ratio| format!("{:.3}", ratio.median));
            let (what, verdict) = (&row.what, row.verdict().name());
            writeln!(f, "  {what}{against}: {value}, goal {goal}, floor {floor}: {verdict}")?;
        }
        Ok(())
    }
}
