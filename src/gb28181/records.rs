//! The answer to RecordInfo, put together from many messages (GB/T 28181-2016, 9.7 and A.2.6.7).
//!
//! It is whole when as many records have come as `SumNum` says. A page that comes twice counts once: devices send a
//! message again under a new transaction when our 200 OK was lost. Some devices count wrong; theirs end by silence.
//!
//! Bound: [`RECORDS_MAX`].

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::answer::{Answer, FileRecord};
use super::manscdp::fields::read_list;
use super::manscdp::tree::Element;
use crate::limits::{MANSCDP_ITEMS_MAX, RECORDS_MAX};

/// One message of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordPage {
    /// `SumNum`: records in all messages.
    pub total: Option<usize>,
    pub records: Vec<FileRecord>,
}

impl RecordPage {
    pub fn read(from: &Element) -> RecordPage {
        RecordPage {
            total: from.value("SumNum").and_then(|text| text.parse().ok()),
            records: read_list(from, "RecordList", "Item", MANSCDP_ITEMS_MAX),
        }
    }
}

/// What has come of one answer.
#[derive(Debug, Default)]
pub struct Records {
    total: Option<usize>,
    records: Vec<FileRecord>,
    /// Prints of the pages that came.
    pages: HashSet<u64>,
    cut: bool,
}

fn print(page: &RecordPage) -> u64 {
    let mut hasher = DefaultHasher::new();
    for r in &page.records {
        (
            &r.start_time,
            &r.end_time,
            &r.name,
            &r.file_path,
            &r.address,
        )
            .hash(&mut hasher);
    }
    hasher.finish()
}

impl Records {
    /// Records held.
    pub fn held(&self) -> usize {
        self.records.len()
    }

    /// Takes a page of which `room` records may be kept. True: all are here.
    pub fn push(&mut self, page: RecordPage, room: usize) -> bool {
        self.total = page.total.or(self.total);
        if page.records.is_empty() || self.pages.insert(print(&page)) {
            let room = room.min(RECORDS_MAX - self.records.len());
            self.cut |= page.records.len() > room;
            self.records.extend(page.records.into_iter().take(room));
        }
        self.total.is_none_or(|total| self.records.len() >= total)
    }

    /// The answer, by time.
    pub fn finish(mut self) -> Answer {
        let partial = self.cut || self.total.is_some_and(|total| self.records.len() < total);
        self.records
            .sort_by(|a, b| (&a.start_time, &a.end_time).cmp(&(&b.start_time, &b.end_time)));
        Answer::Records {
            records: self.records,
            partial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: usize) -> FileRecord {
        FileRecord {
            start_time: Some(format!("2026-06-14T{:02}:{:02}:00", n / 60 % 24, n % 60)),
            name: Some(n.to_string()),
            ..FileRecord::default()
        }
    }

    fn page(total: usize, numbers: std::ops::Range<usize>) -> RecordPage {
        RecordPage {
            total: Some(total),
            records: numbers.map(record).collect(),
        }
    }

    fn finished(records: Records) -> (usize, bool) {
        match records.finish() {
            Answer::Records { records, partial } => (records.len(), partial),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_come_in_any_order_and_twice() {
        let mut records = Records::default();
        assert!(!records.push(page(6, 4..6), 100));
        assert!(!records.push(page(6, 0..2), 100));
        assert!(!records.push(page(6, 0..2), 100));
        assert!(records.push(page(6, 2..4), 100));
        let Answer::Records { records, partial } = records.finish() else {
            panic!("records");
        };
        assert!(!partial);
        let names: Vec<_> = records.iter().filter_map(|r| r.name.as_deref()).collect();
        assert_eq!(names, ["0", "1", "2", "3", "4", "5"]);
    }

    #[test]
    fn nothing_is_an_answer_and_a_missing_page_is_told() {
        let mut none = Records::default();
        assert!(none.push(page(0, 0..0), 100));
        assert_eq!(finished(none), (0, false));
        let mut some = Records::default();
        assert!(!some.push(page(3, 0..2), 100));
        assert_eq!(finished(some), (2, true));
    }

    #[test]
    fn records_have_a_bound() {
        let fill = |count| {
            let mut records = Records::default();
            let whole = records.push(page(count, 0..count), usize::MAX);
            (whole, finished(records))
        };
        assert_eq!(fill(RECORDS_MAX), (true, (RECORDS_MAX, false)));
        assert_eq!(fill(RECORDS_MAX + 1), (false, (RECORDS_MAX, true)));
        let mut records = Records::default();
        assert!(!records.push(page(5, 0..5), 3));
        assert_eq!(finished(records), (3, true));
    }
}
