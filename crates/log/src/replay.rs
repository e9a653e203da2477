//! What all records add up to, at open.
//!
//! Not here: reading them.
//! Invariant: no entry's bytes are kept, only where they are.

use std::collections::BTreeMap;

use bessemer_model::GroupId;

use crate::error::LogError;
use crate::frame::Header;
use crate::group::{Group, Slot};
use crate::position::Position;
use crate::record::Record;
use crate::view::{Change, View};

#[derive(Default)]
pub(crate) struct Replay {
    pub views: BTreeMap<GroupId, View>,
    pub groups: BTreeMap<GroupId, Group>,
    pub records: u64,
    /// The newest watermark any record states.
    pub stated: Position,
}

impl Replay {
    /// Applies the record at `at`.
    pub fn apply(
        &mut self,
        at: Position,
        header: &Header,
        record: &Record<'_>,
    ) -> Result<(), LogError> {
        self.records += 1;
        self.stated = self.stated.max(header.watermark);
        if matches!(record, Record::Segment { .. } | Record::Mark) {
            return Ok(());
        }
        let view = self.views.entry(header.group).or_default();
        let group = self.groups.entry(header.group).or_default();
        let change = view.apply(at.segment, record).map_err(|reason| LogError::Corrupt {
            segment: at.segment,
            offset: at.offset,
            reason,
        })?;
        follow(group, view, change, at, record);
        Ok(())
    }

    /// Refuses a log that lacks entries in segments before the first one there is.
    pub fn check_complete(&self, segment: u32) -> Result<(), LogError> {
        if self.views.values().any(View::misses_entries) {
            let reason = "entries in older segments are missing";
            return Err(LogError::Corrupt { segment, offset: 0, reason });
        }
        Ok(())
    }
}

/// Makes `group` what `view` says after `change`.
fn follow(group: &mut Group, view: &View, change: Change, at: Position, record: &Record<'_>) {
    if let (Change::Appended, Record::Entry { index, payload }) = (change, record) {
        let bytes = u32::try_from(payload.len()).expect("records fit in a segment");
        group.push(*index, Slot { ticket: 0, bytes, at: Some(at), payload: None });
        return;
    }
    let summary = view.summary();
    group.vote = summary.vote;
    group.committed = summary.committed;
    group.purged = summary.purged;
    match (change, record) {
        (Change::Truncated, Record::Truncate { after }) => {
            while group.pop_above(*after).is_some() {}
        }
        (Change::Purged, _) => while group.pop_purged().is_some() {},
        (Change::Adopted, _) => {
            let (first, last) = summary.range.unwrap_or((1, 0));
            for index in first..=last {
                // Must be purged or truncated later on: `check_complete`.
                let at = Some(Position::default());
                group.push(index, Slot { ticket: 0, bytes: 0, at, payload: None });
            }
        }
        (Change::None | Change::Appended | Change::Truncated, _) => {}
    }
}
