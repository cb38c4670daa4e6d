//! Download tasks as rows. They change at most every few seconds, so they are written at once.
//!
//! Bounds: the caller's, [`limits::DOWNLOAD_TASKS_MAX`] tasks.

use super::table::{Filter, Page, table};
use super::{Error, Store};
use crate::limits;

table! {
    /// A download as the store keeps it.
    pub struct DownloadRow in "downloads" by ["id"] {
        pub id: i64,
        pub owner: String,
        /// Code of the device.
        pub device: String,
        pub channel: i64,
        /// Unix seconds.
        pub begin_s: i64,
        pub end_s: i64,
        pub speed: i64,
        /// A word of its owner.
        pub state: String,
        /// How much of the record is here.
        pub position_ms: i64,
        pub bytes: i64,
        pub reason: String,
        /// Unix seconds.
        pub created_s: i64,
    }
}

impl Store {
    /// Every download, oldest first.
    pub async fn downloads(&self) -> Result<Vec<DownloadRow>, Error> {
        let page = Page {
            skip: 0,
            take: i64::try_from(limits::DOWNLOAD_TASKS_MAX).unwrap_or(i64::MAX),
            order: "id".into(),
        };
        Ok(self.list(Filter::all(), &page).await?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::folder;

    #[tokio::test]
    async fn downloads_survive_and_change() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let mut row = DownloadRow {
            id: 7,
            owner: "admin".into(),
            device: "34020000001320000001".into(),
            channel: 2,
            begin_s: i64::from(u32::MAX) - 1,
            end_s: i64::from(u32::MAX),
            speed: 4,
            state: "running".into(),
            position_ms: 12_345,
            bytes: 1 << 40,
            reason: String::new(),
            created_s: 5,
        };
        store.put(&row).await.expect("written");
        row.state = "done".into();
        row.position_ms = 60_000;
        store.put(&row).await.expect("written again");
        drop(store);
        let store = Store::open(folder.path(), "").await.expect("opens again");
        assert_eq!(store.downloads().await.expect("read"), [row]);
        let gone = Filter::all().equal("id", 7);
        assert_eq!(store.remove::<DownloadRow>(gone).await.expect("removed"), 1);
        assert_eq!(store.downloads().await.expect("read"), []);
    }
}
