//! The database: devices, channels, users, logins, the platform's own data and what happened survive a restart.
//!
//! SQLite in the data folder by default, PostgreSQL by config (feature `postgres`): one schema, one set of queries, in
//! SQL that both speak. Changes of devices are written behind by one task, many in a transaction (`writer.rs`); users and
//! logins, which are rare, at once. The platform's own data (`rows.rs`) is written at once through one table of columns
//! (`table.rs`); what happened (`history.rs`) by a task of its own, which also removes what is too old.
//!
//! Not done: media (recordings are files), clusters (who owns what).
//!
//! Bounds: [`limits::STORE_PENDING_DEVICES_MAX`], [`limits::STORE_BATCH_DEVICES_MAX`],
//! [`limits::STORE_CONNECTIONS_MAX`].

mod bulk;
mod device;
mod download;
pub mod history;
mod note;
pub mod rows;
mod seal;
pub mod table;
mod tree;
mod user;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Row};

use crate::gb28181::gb35114::SharedKey;
use crate::gb28181::subscribe::{Topic, Wanted};
use crate::gb28181::{DeviceInfo, MediaTransport, Persist};
use crate::id::DeviceId;
use crate::limits;
use crate::session::{DevicePolicy, RestoredDevice};

pub use device::{NOT_DELETED, condition_in};
pub use download::DownloadRow;
pub use note::{Mark, Note};
pub use user::{LoginRow, User};

use crate::gb28181::CatalogItem;
use history::Chronicle;
use seal::Sealer;
use writer::Writer;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/store/migrations");

const DATABASE_FILE: &str = "gantry.db";
const KEY_FILE: &str = "gantry.key";

/// What could not be done with the database or its files. `Display` is one line.
#[derive(Debug)]
pub struct Error {
    doing: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error {
            doing,
            source: source.into(),
        }
    }

    /// A row that is not as its table says.
    pub fn reading(source: sqlx::Error) -> Error {
        Error::new("reading rows", source)
    }

    /// For `map_err`.
    fn at<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        doing: &'static str,
    ) -> impl FnOnce(E) -> Error {
        move |source| Error::new(doing, source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.to_string().replace('\n', " ");
        write!(f, "store: {}: {source}", self.doing)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Counters of the write-behind queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Devices whose changes wait.
    pub pending: u64,
    /// Devices written since the start.
    pub written: u64,
    /// Changes dropped at [`limits::STORE_PENDING_DEVICES_MAX`].
    pub dropped: u64,
    /// Attempts to write that failed. What they carried waits for the next one.
    pub failed: u64,
}

/// The open database. Cheap to clone; the last one dropped ends the writer ([`Store::flush`] first).
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    pool: AnyPool,
    sealer: Arc<Sealer>,
    writer: Writer,
    chronicle: Chronicle,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or makes the database of a data folder. `url` `""` means SQLite in that folder.
    ///
    /// Errors: the folder cannot be made or written, the database does not answer, or it was made by a newer version.
    pub async fn open(data_dir: &Path, url: &str) -> Result<Store, Error> {
        std::fs::create_dir_all(data_dir).map_err(Error::at("making the data folder"))?;
        let sealer =
            Sealer::open(&data_dir.join(KEY_FILE)).map_err(Error::at("reading its key"))?;
        sqlx::any::install_default_drivers();
        let url = if url.is_empty() {
            sqlite_url(&data_dir.join(DATABASE_FILE))?
        } else {
            url.to_owned()
        };
        let sqlite = url.starts_with("sqlite:");
        let pool = AnyPoolOptions::new()
            .max_connections(limits::STORE_CONNECTIONS_MAX)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if sqlite {
                        // WAL lets readers and the writer work at one time. NORMAL syncs at checkpoints: power loss
                        // can cost the last commits, never the file.
                        sqlx::raw_sql("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
                            .execute(connection)
                            .await?;
                    }
                    Ok(())
                })
            })
            .connect(&url)
            .await
            .map_err(Error::at("opening the database"))?;
        MIGRATIONS
            .run(&pool)
            .await
            .map_err(Error::at("bringing the schema up to date"))?;
        let sealer = Arc::new(sealer);
        let writer = Writer::start(pool.clone(), Arc::clone(&sealer));
        let chronicle = Chronicle::start(pool.clone());
        Ok(Store {
            inner: Arc::new(Inner {
                pool,
                sealer,
                writer,
                chronicle,
            }),
        })
    }

    /// Every device with its channels.
    pub async fn load(&self) -> Result<Vec<RestoredDevice>, Error> {
        device::load(&self.inner.pool, &self.inner.sealer)
            .await
            .map_err(Error::at("reading the devices"))
    }

    /// Takes a change of a device. Never waits; it is written within [`limits::STORE_BATCH_WAIT_MS_MAX`] or so.
    pub fn persist(&self, change: Persist) {
        self.inner.writer.persist(change, &self.inner.chronicle);
    }

    /// As [`Store::persist`].
    pub fn save_info(&self, device: DeviceId, info: DeviceInfo) {
        self.inner.writer.save_info(device, info);
    }

    /// Keeps by what a picture came from a device. As [`Store::persist`] otherwise.
    pub fn save_transport(&self, device: DeviceId, transport: MediaTransport) {
        self.inner.writer.save_transport(device, transport);
    }

    /// Replaces the channels of a device. **Order**: the place of a channel in the list is its index in the API, so the
    /// caller keeps channels where they were and adds new ones at the end. As [`Store::persist`] otherwise.
    pub fn save_channels(&self, device: DeviceId, channels: Vec<CatalogItem>, partial: bool) {
        self.inner.writer.save_channels(device, channels, partial);
    }

    /// Replaces the channel at a place, or adds it behind the last. As [`Store::persist`] otherwise.
    pub fn save_channel(&self, device: DeviceId, place: u32, item: CatalogItem) {
        self.inner.writer.save_channel(device, place, item);
    }

    /// Adds or replaces a node of a device's directory; `None` removes it. As [`Store::persist`] otherwise.
    pub fn save_node(&self, device: DeviceId, id: String, item: Option<CatalogItem>) {
        self.inner.writer.save_node(device, id, item);
    }

    /// Replaces the nodes of a device's directory. As [`Store::persist`] otherwise.
    pub fn save_directory(&self, device: DeviceId, nodes: Vec<CatalogItem>) {
        self.inner.writer.save_directory(device, nodes);
    }

    /// Replaces what a user forced for a device. Errors: the database refuses.
    pub async fn save_policy(&self, device: DeviceId, policy: DevicePolicy) -> Result<(), Error> {
        device::save_policy(&self.inner.pool, device, policy)
            .await
            .map_err(Error::at("writing the policy of a device"))
    }

    /// Returns when everything taken so far is in the database. Errors: an attempt failed; the changes still wait.
    pub async fn flush(&self) -> Result<(), Error> {
        self.inner.writer.flush().await
    }

    pub fn stats(&self) -> StoreStats {
        self.inner.writer.stats()
    }

    /// Where what happens is written down.
    pub fn chronicle(&self) -> &Chronicle {
        &self.inner.chronicle
    }

    /// Dialogs with devices that an earlier run left behind, with whose they were.
    pub async fn left_over(&self) -> Result<Vec<(DeviceId, String)>, Error> {
        let rows: Vec<rows::OpenDialog> = self
            .every(table::Filter::all(), limits::INVITES_MAX)
            .await?;
        let read = |row: rows::OpenDialog| Some((DeviceId(row.device.parse().ok()?), row.dialog));
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Closes the dialogs in the history that an earlier run left open: it was killed.
    pub async fn close_left_over(&self, now_unix_s: i64) -> Result<u64, Error> {
        let set = "close_time = ?, duration = ? - time, failure = 'node restart'";
        let values = vec![now_unix_s.into(), now_unix_s.into()];
        let open = table::Filter::all().equal("close_time", -1_i64);
        self.change::<history::DialogRow>(set, values, open).await
    }

    /// Keys that were agreed with devices of GB 35114. Those that were sealed with another key are left out.
    pub async fn shared_keys(&self) -> Result<Vec<(DeviceId, SharedKey)>, Error> {
        device::shared_keys(&self.inner.pool, &self.inner.sealer)
            .await
            .map_err(Error::at("reading the agreed keys"))
    }

    /// What devices are subscribed to for beyond the config. Rows of another version are left out.
    pub async fn subscriptions(&self) -> Result<Vec<(DeviceId, Wanted)>, Error> {
        let filter = table::Filter::all();
        let rows: Vec<rows::SubscriptionRow> =
            self.every(filter, limits::SUBSCRIPTIONS_MAX).await?;
        let read = |row: rows::SubscriptionRow| {
            let seconds = |s: i64| Duration::from_secs(u64::try_from(s).unwrap_or(0).max(1));
            let wanted = Wanted {
                topic: Topic::from_name(&row.topic)?,
                channel: match row.channel.as_str() {
                    "" => None,
                    code => Some(code.parse().ok()?),
                },
                expires: seconds(row.expires_s),
                interval: seconds(row.interval_s),
            };
            Some((DeviceId(row.device.parse().ok()?), wanted))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Removes all that is known of a device. What waits to be written of it is written before.
    pub async fn remove_device(&self, device: DeviceId) -> Result<(), Error> {
        self.flush().await?;
        device::remove(&self.inner.pool, device)
            .await
            .map_err(Error::at("removing a device"))
    }

    /// What [`Store::put_sealed`] kept under a name; `None`: nothing.
    pub async fn sealed(&self, name: &'static str) -> Result<Option<Vec<u8>>, Error> {
        let doing = "reading a sealed record";
        let row = sqlx::query("SELECT value FROM meta WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(Error::at(doing))?;
        let Some(row) = row else { return Ok(None) };
        let sealed: String = row.try_get(0).map_err(Error::at(doing))?;
        match self.inner.sealer.unseal(name, &sealed) {
            Some(plain) => Ok(Some(plain)),
            None => Err(Error::new(doing, "it was sealed with another key")),
        }
    }

    /// Keeps a record encrypted, in place of what was there.
    pub async fn put_sealed(&self, name: &'static str, plain: &[u8]) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(self.inner.sealer.seal(name, plain))
        .execute(&self.inner.pool)
        .await
        .map_err(Error::at("writing a sealed record"))?;
        Ok(())
    }

    /// A secret of this installation: the one stored under `name`, or what `make` gives, kept from now on.
    pub async fn secret(
        &self,
        name: &'static str,
        make: impl FnOnce() -> Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let doing = "reading a secret";
        let find = || {
            sqlx::query("SELECT value FROM meta WHERE name = $1")
                .bind(name)
                .fetch_optional(&self.inner.pool)
        };
        let mut row = find().await.map_err(Error::at(doing))?;
        if row.is_none() {
            // Another node may do the same at the same moment: the first one wins, and both read it.
            sqlx::query(
                "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            )
            .bind(name)
            .bind(self.inner.sealer.seal(name, &make()))
            .execute(&self.inner.pool)
            .await
            .map_err(Error::at("writing a secret"))?;
            row = find().await.map_err(Error::at(doing))?;
        }
        let row = row.ok_or_else(|| Error::new(doing, "it is gone"))?;
        let sealed: String = row.try_get(0).map_err(Error::at(doing))?;
        self.inner.sealer.unseal(name, &sealed).ok_or_else(|| {
            Error::new(
                doing,
                format!("{name} was sealed with another key than {KEY_FILE} of the data folder"),
            )
        })
    }

    /// A small fact that is no secret, kept under a name.
    pub async fn fact(&self, name: &'static str) -> Result<Option<String>, Error> {
        let row = sqlx::query("SELECT value FROM meta WHERE name = $1")
            .bind(format!("fact {name}"))
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(Error::at("reading a fact"))?;
        row.map(|row| row.try_get(0).map_err(Error::at("reading a fact")))
            .transpose()
    }

    pub async fn set_fact(&self, name: &'static str, value: &str) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(format!("fact {name}"))
        .bind(value.to_owned())
        .execute(&self.inner.pool)
        .await
        .map_err(Error::at("writing a fact"))?;
        Ok(())
    }

    /// Unpredictable bytes, for passwords and keys.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        self.inner.sealer.random()
    }
}

/// The path as a URL: whatever is not plain is percent-encoded.
fn sqlite_url(path: &Path) -> Result<String, Error> {
    let path = std::path::absolute(path).map_err(Error::at("finding the data folder"))?;
    let mut url = String::from("sqlite://");
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                url.push(char::from(byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push_str("?mode=rwc");
    Ok(url)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder of its own for a test, removed at the end.
    pub(crate) struct Folder(PathBuf);

    impl Folder {
        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub(crate) fn folder() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("gantry unit #{} {number}%", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Folder(path)
    }

    #[tokio::test]
    async fn a_secret_is_made_once_and_kept() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let first = store.secret("token", || vec![1, 2, 3]).await.expect("made");
        assert_eq!(first, [1, 2, 3]);
        drop(store);
        let store = Store::open(folder.path(), "").await.expect("opens again");
        let again = store.secret("token", || vec![9]).await.expect("read");
        assert_eq!(again, [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_secret_of_another_key_is_an_error() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        store.secret("token", || vec![1]).await.expect("made");
        drop(store);
        std::fs::remove_file(folder.path().join(KEY_FILE)).expect("the key was there");
        let store = Store::open(folder.path(), "").await.expect("opens");
        let error = store.secret("token", || vec![2]).await.expect_err("sealed");
        assert!(error.to_string().contains("another key"), "{error}");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_one_line() {
        let folder = folder();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").expect("written");
        let error = Store::open(&file.join("data"), "")
            .await
            .expect_err("no folder");
        let text = error.to_string();
        assert!(
            text.starts_with("store: making the data folder: "),
            "{text}"
        );
        assert!(!text.contains('\n'));
    }
}
