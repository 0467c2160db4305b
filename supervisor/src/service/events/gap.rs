//! Events that were not delivered: the first, the last, how many, and why.

use outrigger_proto::plugin::v1 as wire;

/// What is missing in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// First number missing.
    pub(crate) from: u64,
    /// Last number missing.
    pub(crate) to: u64,
    /// Matching events among them; 0: not known.
    pub(crate) count: u64,
    pub(crate) reason: wire::GapReason,
}

impl Gap {
    /// The supervisor was started again.
    pub(crate) fn of_another_epoch() -> Self {
        Self { from: 0, to: 0, count: 0, reason: wire::GapReason::EpochChanged }
    }

    /// The ring no longer has these, of which nobody counted those that match.
    pub(crate) fn overwritten(from: u64, to: u64) -> Self {
        Self { from, to, count: 0, reason: wire::GapReason::RingOverwritten }
    }

    /// Adds a matching event, which is the newest.
    pub(crate) fn add(gap: &mut Option<Self>, seq: u64, reason: wire::GapReason) {
        match gap {
            // What is not known stays so.
            Some(gap) => *gap = Self { to: seq, count: gap.count + u64::from(gap.count > 0), ..*gap },
            None => *gap = Some(Self { from: seq, to: seq, count: 1, reason }),
        }
    }

    /// What of it is behind a number.
    pub(crate) fn after(self, seq: u64) -> Option<Self> {
        match seq {
            seq if seq < self.from => Some(self),
            seq if seq < self.to => Some(Self { from: seq + 1, count: 0, ..self }),
            _ => None,
        }
    }
}

impl From<Gap> for wire::EventGap {
    fn from(gap: Gap) -> Self {
        Self { from_seq: gap.from, to_seq: gap.to, count: gap.count, reason: gap.reason as i32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_what_is_lost_and_shrinks_by_what_is_done() {
        let mut gap = None;
        for seq in [3, 5, 9] {
            Gap::add(&mut gap, seq, wire::GapReason::SlowSubscriber);
        }
        let gap = gap.expect("three were added");
        assert_eq!((gap.from, gap.to, gap.count), (3, 9, 3));
        assert_eq!(gap.after(2), Some(gap));
        assert_eq!(gap.after(5).map(|gap| (gap.from, gap.to, gap.count)), Some((6, 9, 0)));
        assert_eq!(gap.after(9), None);
        let mut unknown = Some(Gap::overwritten(1, 4));
        Gap::add(&mut unknown, 6, wire::GapReason::RingOverwritten);
        assert_eq!(unknown.map(|gap| (gap.from, gap.to, gap.count)), Some((1, 6, 0)));
    }
}
