//! Putting one directory together from many messages (GB/T 28181-2016, 9.5 and A.2.6 a).
//!
//! A device answers a Catalog query with several MESSAGE requests that carry the query's `SN`, each with some items and,
//! as `SumNum`, how many there are in all. Real devices repeat items, give another `SumNum` in each message, count items
//! that they never send, lose a message on UDP, or answer with an `SN` of their own.
//!
//! So: items are told apart by id, the newest wins; the largest `SumNum` is believed; a directory is complete when that
//! many items came, and is given up as partial when nothing came for a while. An item repeated within one message counts
//! as come (the device lists it twice); one repeated in another message does not (the message was sent again).
//!
//! Not done here: asking again, which is the [platform's](super::platform) part.
//!
//! Bounds: [`CATALOG_CHANNELS_MAX`] items; those beyond are left out and the directory is partial.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::manscdp::CatalogPage;
use super::types::CatalogItem;
use crate::limits::CATALOG_CHANNELS_MAX;

/// A directory that is coming in.
#[derive(Debug)]
pub struct Assembly {
    /// How often this directory was asked for before.
    attempt: u8,
    /// `SN` that the messages so far carried.
    answered: Option<Option<u32>>,
    total: Option<u32>,
    /// Items that are accounted for: unique ones, repeated ones within a message, unusable ones.
    counted: u32,
    items: Vec<CatalogItem>,
    places: HashMap<Box<str>, u32>,
    overflow: bool,
    quiet: Duration,
    deadline: Instant,
}

/// What a message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Progress {
        received: u32,
        total: u32,
    },
    /// All that was announced has come: call [`Assembly::finish`].
    Complete,
    /// The message belongs to another question, and was not taken.
    Foreign,
}

impl Assembly {
    /// `attempt` is how often it was asked for before; `quiet` is how long to wait for the next message.
    pub fn new(attempt: u8, now: Instant, quiet: Duration) -> Assembly {
        Assembly {
            attempt,
            answered: None,
            total: None,
            counted: 0,
            items: Vec::new(),
            places: HashMap::new(),
            overflow: false,
            quiet,
            deadline: now + quiet,
        }
    }

    /// When to give up waiting.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub fn attempt(&self) -> u8 {
        self.attempt
    }

    /// Items held, for bounds over all directories.
    pub fn held(&self) -> usize {
        self.items.len()
    }

    /// Takes one message.
    pub fn push(&mut self, now: Instant, sn: Option<u32>, page: CatalogPage) -> Pushed {
        match self.answered {
            None => self.answered = Some(sn),
            Some(answered) if answered == sn => {}
            Some(_) => return Pushed::Foreign,
        }
        self.deadline = now + self.quiet;
        self.total = self.total.max(page.total);
        let known_before = self.items.len() as u32;
        self.counted = self.counted.saturating_add(page.unusable);
        for item in page.items {
            self.take(item, known_before);
        }
        match self.total {
            Some(total) if self.counted >= total => Pushed::Complete,
            total => Pushed::Progress {
                received: self.items.len() as u32,
                total: total.unwrap_or(0),
            },
        }
    }

    /// The directory so far and whether some of it never came. A device that announces no number is taken at its
    /// silence.
    pub fn finish(self) -> (Vec<CatalogItem>, bool) {
        let missing = match self.total {
            Some(total) => self.counted < total,
            None => self.answered.is_none(),
        };
        (self.items, missing || self.overflow)
    }

    fn take(&mut self, item: CatalogItem, known_before: u32) {
        if let Some(place) = self.places.get(item.id.as_str()).copied() {
            if place >= known_before {
                self.counted = self.counted.saturating_add(1);
            }
            self.items[place as usize] = item;
            return;
        }
        if self.items.len() >= CATALOG_CHANNELS_MAX {
            self.overflow = true;
            self.counted = self.counted.saturating_add(1);
            return;
        }
        self.counted = self.counted.saturating_add(1);
        self.places
            .insert(item.id.as_str().into(), self.items.len() as u32);
        self.items.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(5);

    fn page(total: Option<u32>, ids: impl IntoIterator<Item = u32>) -> CatalogPage {
        CatalogPage {
            total,
            items: ids
                .into_iter()
                .map(|n| CatalogItem {
                    id: n.to_string(),
                    ..CatalogItem::default()
                })
                .collect(),
            unusable: 0,
        }
    }

    fn ids(items: &[CatalogItem]) -> Vec<&str> {
        items.iter().map(|i| i.id.as_str()).collect()
    }

    #[test]
    fn messages_in_any_order_make_one_directory() {
        let now = Instant::now();
        let mut assembly = Assembly::new(0, now, QUIET);
        assert_eq!(
            assembly.push(now, Some(7), page(Some(3), [3])),
            Pushed::Progress {
                received: 1,
                total: 3
            }
        );
        assert_eq!(
            assembly.push(now, Some(7), page(Some(3), [1, 2])),
            Pushed::Complete
        );
        let (items, partial) = assembly.finish();
        assert_eq!((ids(&items), partial), (vec!["3", "1", "2"], false));
    }

    #[test]
    fn a_lost_message_leaves_a_partial_directory_after_silence() {
        let now = Instant::now();
        let mut assembly = Assembly::new(0, now, QUIET);
        assembly.push(now, Some(7), page(Some(3), [1]));
        let later = now + Duration::from_secs(4);
        assembly.push(later, Some(7), page(Some(3), [3]));
        assert_eq!(assembly.deadline(), later + QUIET);
        let (items, partial) = assembly.finish();
        assert_eq!((ids(&items), partial), (vec!["1", "3"], true));
    }

    #[test]
    fn a_message_sent_again_does_not_hide_a_lost_one() {
        let now = Instant::now();
        let mut assembly = Assembly::new(0, now, QUIET);
        assembly.push(now, Some(7), page(Some(3), [1]));
        assembly.push(now, Some(7), page(Some(3), [1]));
        assert_ne!(
            assembly.push(now, Some(7), page(Some(3), [1])),
            Pushed::Complete
        );
        assert!(assembly.finish().1);
    }

    #[test]
    fn an_item_listed_twice_in_one_message_is_one_channel_and_counts_twice() {
        let now = Instant::now();
        let mut assembly = Assembly::new(0, now, QUIET);
        assert_eq!(
            assembly.push(now, Some(7), page(Some(3), [1, 1, 2])),
            Pushed::Complete
        );
        assert_eq!(ids(&assembly.finish().0), ["1", "2"]);
    }

    #[test]
    fn the_largest_sum_is_believed() {
        let now = Instant::now();
        let mut assembly = Assembly::new(0, now, QUIET);
        assembly.push(now, Some(7), page(Some(4), [1]));
        assert_eq!(
            assembly.push(now, Some(7), page(Some(2), [2])),
            Pushed::Progress {
                received: 2,
                total: 4
            }
        );
        assembly.push(now, Some(7), page(Some(2), [3]));
        assert_eq!(
            assembly.push(now, Some(7), page(None, [4])),
            Pushed::Complete
        );
    }

    #[test]
    fn a_message_of_another_answer_is_not_mixed_in() {
        let now = Instant::now();
        let mut assembly = Assembly::new(0, now, QUIET);
        assembly.push(now, Some(1), page(Some(5), [1, 2]));
        assert_eq!(
            assembly.push(now, Some(2), page(Some(5), [3])),
            Pushed::Foreign
        );
        assert_eq!(ids(&assembly.finish().0), ["1", "2"]);
    }

    #[test]
    fn a_device_that_answers_with_its_own_number_is_heard() {
        let now = Instant::now();
        let mut assembly = Assembly::new(0, now, QUIET);
        assert_eq!(
            assembly.push(now, None, page(Some(1), [1])),
            Pushed::Complete
        );
    }

    #[test]
    fn an_empty_directory_is_complete_and_silence_is_not() {
        let now = Instant::now();
        let mut assembly = Assembly::new(0, now, QUIET);
        assert_eq!(
            assembly.push(now, Some(7), page(Some(0), [])),
            Pushed::Complete
        );
        assert_eq!(assembly.finish(), (vec![], false));
        assert_eq!(Assembly::new(0, now, QUIET).finish(), (vec![], true));
    }

    #[test]
    fn a_directory_has_an_end() {
        let now = Instant::now();
        let mut assembly = Assembly::new(0, now, QUIET);
        let max = CATALOG_CHANNELS_MAX as u32;
        assembly.push(now, Some(7), page(Some(max + 1), 0..max));
        assert_eq!(assembly.held(), CATALOG_CHANNELS_MAX);
        assert!(!assembly.overflow);
        assert_eq!(
            assembly.push(now, Some(7), page(Some(max + 1), [max])),
            Pushed::Complete
        );
        let (items, partial) = assembly.finish();
        assert_eq!((items.len(), partial), (CATALOG_CHANNELS_MAX, true));
    }
}
