//! Write-behind for devices: changes are collected by device and written many in a transaction.
//!
//! The control thread adds a change under a lock that is held for a map insert; it never waits for the database. What
//! happens to one device between two commits becomes one row. When the database refuses, the changes wait under whatever
//! came later and are tried again.
//!
//! Bounds: devices that wait [`limits::STORE_PENDING_DEVICES_MAX`]; devices in a transaction
//! [`limits::STORE_BATCH_DEVICES_MAX`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::AnyPool;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::gb28181::{CatalogItem, DeviceInfo, MediaTransport, Persist};
use crate::id::DeviceId;
use crate::limits;

use super::device::{self, Change};
use super::history::{Chronicle, Entry};
use super::rows::OpenDialog;
use super::seal::Sealer;
use super::{Error, StoreStats};

/// The queue and the task that empties it. Dropping it ends the task.
pub struct Writer {
    queue: Arc<Queue>,
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct Queue {
    pending: Mutex<Pending>,
    /// There is something to write.
    wake: Notify,
    /// It should not wait for more.
    hurry: Notify,
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Pending {
    devices: HashMap<DeviceId, Change>,
    /// Changes taken so far.
    taken: u64,
}

/// What the task tells those who wait for it.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Changes up to this number are in the database.
    committed: u64,
    failures: u64,
}

impl Writer {
    pub fn start(pool: AnyPool, sealer: Arc<Sealer>) -> Writer {
        let queue = Arc::new(Queue::default());
        let (report, progress) = watch::channel(Progress::default());
        let task = tokio::spawn(run(pool, sealer, Arc::clone(&queue), report)).abort_handle();
        Writer {
            queue,
            progress,
            task,
        }
    }

    /// What is of no device's row is the history's.
    pub fn persist(&self, change: Persist, chronicle: &Chronicle) {
        match change {
            Persist::DialogBegun {
                device,
                call_id,
                dialog,
            } => chronicle.note(Entry::DialogBegun(Box::new(OpenDialog {
                call_id,
                device: device.to_string(),
                dialog,
            }))),
            Persist::DialogOver { call_id } => chronicle.note(Entry::DialogOver { call_id }),
            Persist::Device(stored) => {
                self.queue
                    .change(stored.device, |change| change.register(stored));
            }
            Persist::Seen { device, unix_s } => {
                self.queue.change(device, |change| change.see(unix_s));
            }
            Persist::Offline { device } => self.queue.change(device, Change::lose),
            Persist::Key { device, key } => {
                self.queue.change(device, |change| change.key = Some(key));
            }
        }
    }

    pub fn save_info(&self, device: DeviceId, info: DeviceInfo) {
        self.queue.change(device, |change| change.info = Some(info));
    }

    pub fn save_transport(&self, device: DeviceId, transport: MediaTransport) {
        self.queue
            .change(device, |change| change.transport = Some(transport));
    }

    pub fn save_channels(&self, device: DeviceId, channels: Vec<CatalogItem>, partial: bool) {
        self.queue
            .change(device, |change| change.list(channels, partial));
    }

    pub fn save_channel(&self, device: DeviceId, place: u32, item: CatalogItem) {
        self.queue
            .change(device, |change| change.channel(place, item));
    }

    pub fn save_node(&self, device: DeviceId, id: String, item: Option<CatalogItem>) {
        self.queue.change(device, |change| change.node(id, item));
    }

    pub fn save_directory(&self, device: DeviceId, nodes: Vec<CatalogItem>) {
        self.queue.change(device, |change| change.tree(nodes));
    }

    pub async fn flush(&self) -> Result<(), Error> {
        let mut progress = self.progress.clone();
        let target = self.queue.lock().taken;
        let failures = progress.borrow_and_update().failures;
        self.queue.wake.notify_one();
        self.queue.hurry.notify_one();
        let done = progress
            .wait_for(|p| p.committed >= target || p.failures > failures)
            .await
            .map_err(Error::at("writing what waits"))?;
        if done.committed >= target {
            Ok(())
        } else {
            Err(Error::new(
                "writing what waits",
                "the database refused; see the log",
            ))
        }
    }

    pub fn stats(&self) -> StoreStats {
        StoreStats {
            pending: self.queue.lock().devices.len() as u64,
            written: self.queue.written.load(Ordering::Relaxed),
            dropped: self.queue.dropped.load(Ordering::Relaxed),
            failed: self.queue.failed.load(Ordering::Relaxed),
        }
    }
}

impl Queue {
    /// A panic elsewhere leaves the map whole: each change is one insert.
    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, device: DeviceId, apply: impl FnOnce(&mut Change)) {
        let mut pending = self.lock();
        let waiting = pending.devices.len();
        if waiting >= limits::STORE_PENDING_DEVICES_MAX && !pending.devices.contains_key(&device) {
            drop(pending);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        apply(pending.devices.entry(device).or_default());
        pending.taken += 1;
        let now_waiting = pending.devices.len();
        drop(pending);
        if waiting == 0 {
            self.wake.notify_one();
        }
        if waiting < limits::STORE_BATCH_DEVICES_MAX
            && now_waiting >= limits::STORE_BATCH_DEVICES_MAX
        {
            self.hurry.notify_one();
        }
    }

    fn take(&self) -> (Vec<(DeviceId, Change)>, u64) {
        let mut pending = self.lock();
        let devices = std::mem::take(&mut pending.devices);
        let taken = pending.taken;
        drop(pending);
        // Neighbours in the index share pages.
        let mut changes: Vec<_> = devices.into_iter().collect();
        changes.sort_unstable_by_key(|(device, _)| *device);
        (changes, taken)
    }

    /// Puts back what was not written, under what came meanwhile. May pass the bound by one take.
    fn put_back(&self, batch: Vec<(DeviceId, Change)>) {
        let mut pending = self.lock();
        for (device, change) in batch {
            let later = pending.devices.remove(&device).unwrap_or_default();
            pending.devices.insert(device, change.then(later));
        }
    }
}

async fn run(
    pool: AnyPool,
    sealer: Arc<Sealer>,
    queue: Arc<Queue>,
    report: watch::Sender<Progress>,
) {
    loop {
        queue.wake.notified().await;
        let company = Duration::from_millis(limits::STORE_BATCH_WAIT_MS_MAX);
        let _ = tokio::time::timeout(company, queue.hurry.notified()).await;
        let (mut changes, taken) = queue.take();
        let mut outcome = Ok(());
        while !changes.is_empty() {
            let size = changes.len().min(limits::STORE_BATCH_DEVICES_MAX);
            let batch = changes.split_off(changes.len() - size);
            outcome = commit(&pool, &sealer, &batch).await;
            if outcome.is_err() {
                changes.extend(batch);
                break;
            }
            queue.written.fetch_add(size as u64, Ordering::Relaxed);
        }
        match outcome {
            Ok(()) => {
                report.send_modify(|p| p.committed = taken);
            }
            Err(error) => {
                queue.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, devices = changes.len(), "the database refuses changes of devices; they wait");
                queue.put_back(changes);
                report.send_modify(|p| p.failures += 1);
                let pause = Duration::from_millis(limits::STORE_RETRY_MS);
                let _ = tokio::time::timeout(pause, queue.hurry.notified()).await;
                queue.wake.notify_one();
            }
        }
    }
}

async fn commit(pool: &AnyPool, sealer: &Sealer, batch: &[(DeviceId, Change)]) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    device::write(&mut transaction, sealer, batch).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gb28181::{DeviceAuth, SipTransport, StoredDevice};
    use crate::session::RestoredDevice;
    use crate::store::Store;
    use crate::store::tests::folder;

    fn id(number: u32) -> DeviceId {
        DeviceId(
            format!("3402000000132{number:07}")
                .parse()
                .expect("20 digits"),
        )
    }

    fn stored(number: u32) -> StoredDevice {
        StoredDevice {
            device: id(number),
            auth: DeviceAuth::Default,
            peer: Some("192.168.1.7:5060".parse().expect("an address")),
            transport: SipTransport::Tls,
            online: true,
            expires_unix_s: 1_800_000_000,
            last_seen_unix_s: 1_700_000_000,
            gb_version: Some("2.0".into()),
        }
    }

    fn channel(number: u32) -> CatalogItem {
        CatalogItem {
            id: format!("3402000000131{number:07}"),
            name: format!("大门 {number}"),
            online: true,
            secrecy: number % 2 == 1,
            longitude: Some(-0.123_456_789_012),
            latitude: None,
            ptz_type: 1,
            ..CatalogItem::default()
        }
    }

    #[tokio::test]
    async fn devices_and_channels_survive_a_restart() {
        let folder = folder();
        let own = DeviceAuth::Password("geheim".into());
        keep_and_reopen(folder.path(), "", own).await;
        let file = std::fs::read(folder.path().join("gantry.db")).expect("the file is there");
        let wal = std::fs::read(folder.path().join("gantry.db-wal")).unwrap_or_default();
        let found = [file, wal].concat();
        assert!(
            !found.windows(6).any(|w| w == b"geheim"),
            "the password is sealed"
        );
    }

    /// Needs an empty database, named by `GANTRY_TEST_POSTGRES`.
    #[cfg(feature = "postgres")]
    #[tokio::test]
    async fn postgresql_keeps_the_same() {
        let Ok(url) = std::env::var("GANTRY_TEST_POSTGRES") else {
            println!("skipped: GANTRY_TEST_POSTGRES names no database");
            return;
        };
        let folder = folder();
        keep_and_reopen(folder.path(), &url, DeviceAuth::Password("geheim".into())).await;
        let store = Store::open(folder.path(), &url).await.expect("opens");
        lose_and_see(&store).await;
        assert_eq!(store.secret("x", || vec![7]).await.expect("made"), [7]);
        assert_eq!(store.secret("x", || vec![8]).await.expect("read"), [7]);
        let user = crate::store::User {
            name: "admin".into(),
            proof: "00".into(),
            admin: true,
            enabled: true,
            created_unix_s: 1,
            password_unix_s: 2,
        };
        store.put_user(&user).await.expect("written");
        store.put_user(&user).await.expect("replaced");
        assert_eq!(store.users().await.expect("read"), [user]);
        let login = crate::store::LoginRow {
            token_id: u64::MAX,
            user: "admin".into(),
            expires_unix_s: 100,
        };
        store.put_login(&login).await.expect("written");
        assert_eq!(store.logins(99).await.expect("read"), [login]);
        assert_eq!(store.logins(100).await.expect("read"), []);
    }

    async fn keep_and_reopen(folder: &std::path::Path, url: &str, auth: DeviceAuth) {
        let store = Store::open(folder, url).await.expect("opens");
        let mut own = stored(2);
        own.auth = auth;
        let mut open = stored(3);
        open.auth = DeviceAuth::NotNeeded;
        open.peer = None;
        open.gb_version = None;
        for device in [stored(1), own.clone(), open.clone()] {
            store.persist(Persist::Device(device));
        }
        let info = DeviceInfo {
            name: "NVR\0".into(),
            channels: Some(16),
            ..DeviceInfo::default()
        };
        store.save_info(id(1), info.clone());
        store.save_transport(id(1), MediaTransport::TcpPassive);
        store.save_transport(id(1), MediaTransport::TcpActive);
        let channels: Vec<_> = (0..123).map(channel).collect();
        store.save_channels(id(1), vec![channel(7)], false);
        store.save_channels(id(1), channels.clone(), true);
        store.flush().await.expect("written");
        let stats = store.stats();
        assert_eq!((stats.pending, stats.written, stats.dropped), (0, 3, 0));
        drop(store);

        let store = Store::open(folder, url).await.expect("opens again");
        let record = |stored| RestoredDevice {
            stored,
            info: DeviceInfo::default(),
            transport: None,
            channels: vec![],
            partial: false,
            policy: Default::default(),
        };
        let first = RestoredDevice {
            info: DeviceInfo {
                name: "NVR".into(),
                ..info
            },
            channels,
            transport: Some(MediaTransport::TcpActive),
            partial: true,
            ..record(stored(1))
        };
        let want = [first, record(own), record(open)];
        assert_eq!(store.load().await.expect("read"), want);
    }

    /// A change of one channel or node touches no other row, comes over what waits, and is under what comes whole after it.
    #[tokio::test]
    async fn single_channels_and_nodes_are_written_alone() {
        use crate::gb28181::Condition;
        use crate::store::rows::NodeRow;
        use crate::store::table::{Filter, Page};
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let node = |number: u32, parent: &str| CatalogItem {
            id: format!("3402000000216{number:07}"),
            name: format!("n{number}"),
            parent_id: parent.into(),
            ..CatalogItem::default()
        };
        store.persist(Persist::Device(stored(1)));
        store.save_channels(id(1), vec![channel(1), channel(2), channel(3)], false);
        let top = node(1, "");
        store.save_directory(id(1), vec![top.clone(), node(2, &top.id)]);
        store.flush().await.expect("written");
        let pool = &store.inner.pool;
        // What is not written again keeps this mark.
        let mark = "UPDATE channels SET owner = 'mark'";
        sqlx::query(mark).execute(pool).await.expect("marked");

        let mut lost = channel(2);
        lost.online = false;
        lost.condition = Condition::VideoLost;
        let mut gone = channel(3);
        gone.condition = Condition::Deleted;
        store.save_channel(id(1), 1, channel(2));
        store.save_channel(id(1), 1, lost.clone());
        store.save_channel(id(1), 2, gone.clone());
        store.save_channel(id(1), 3, channel(4));
        store.save_node(
            id(1),
            "3402000000216".to_owned() + "0000003",
            Some(node(3, &top.id)),
        );
        store.save_node(id(1), top.id.clone(), None);
        store.flush().await.expect("written");
        let devices = store.load().await.expect("read");
        let mut first = channel(1);
        first.owner = "mark".into();
        assert_eq!(devices[0].channels, [first, lost, gone, channel(4)]);
        let page = Page {
            skip: 0,
            take: 9,
            order: "place".into(),
        };
        let (nodes, _) = store
            .list::<NodeRow>(Filter::all(), &page)
            .await
            .expect("read");
        let shown: Vec<_> = nodes
            .iter()
            .map(|n| (n.name.as_str(), n.parent.as_str()))
            .collect();
        assert_eq!(
            shown,
            [("n2", ""), ("n3", "")],
            "what hung on it stands at the top"
        );

        // The whole list comes over single changes that still wait.
        store.save_channel(id(1), 0, channel(9));
        store.save_channels(id(1), vec![channel(5)], false);
        store.save_channel(id(1), 0, channel(6));
        store.flush().await.expect("written");
        assert_eq!(store.load().await.expect("read")[0].channels, [channel(6)]);
    }

    #[test]
    fn changes_of_nodes_that_wait_have_a_bound() {
        let mut change = Change::default();
        for number in 0..=limits::NODE_CHANGES_WAITING_MAX {
            change.node(number.to_string(), None);
        }
        assert_eq!(change.nodes.len(), limits::NODE_CHANGES_WAITING_MAX);
        change.node("0".into(), Some(channel(1)));
        assert_eq!(change.nodes.len(), limits::NODE_CHANGES_WAITING_MAX);
        assert_eq!(change.nodes.last().map(|(id, _)| id.as_str()), Some("0"));
    }

    #[tokio::test]
    async fn agreed_keys_are_sealed_and_void_with_their_device() {
        use crate::gb28181::gb35114::SharedKey;
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let keep = |number, key| {
            let device = id(number);
            store.persist(Persist::Key { device, key });
        };
        keep(1, Some(SharedKey(*b"geheimgeheim0001")));
        keep(2, Some(SharedKey(*b"geheimgeheim0002")));
        store.flush().await.expect("written");
        keep(2, None);
        keep(3, Some(SharedKey([3; 16])));
        store.flush().await.expect("written");
        store.remove_device(id(3)).await.expect("removed");
        let keys = store.shared_keys().await.expect("read");
        assert_eq!(keys, [(id(1), SharedKey(*b"geheimgeheim0001"))]);
        for file in ["gantry.db", "gantry.db-wal"] {
            let bytes = std::fs::read(folder.path().join(file)).unwrap_or_default();
            assert!(!bytes.windows(12).any(|w| w == b"geheimgeheim"), "{file}");
        }
    }

    #[tokio::test]
    async fn a_keepalive_and_a_loss_change_a_known_device_only() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        store.persist(Persist::Device(stored(1)));
        lose_and_see(&store).await;
        assert_eq!(store.load().await.expect("read").len(), 1);
    }

    /// Device 1 is known, device 9 is not.
    async fn lose_and_see(store: &Store) {
        store.flush().await.expect("written");
        let unix_s = 1_700_000_060;
        for number in [1, 9] {
            let device = id(number);
            store.persist(Persist::Seen { device, unix_s });
            store.persist(Persist::Offline { device });
        }
        store.flush().await.expect("written");
        let devices = store.load().await.expect("read");
        assert!(!devices[0].stored.online);
        assert_eq!(devices[0].stored.last_seen_unix_s, unix_s);
        assert!(devices.iter().all(|d| d.stored.device != id(9)));
    }

    #[tokio::test]
    async fn what_the_database_refuses_waits_under_what_came_later() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let pool = &store.inner.pool;
        sqlx::raw_sql("ALTER TABLE devices RENAME TO hidden")
            .execute(pool)
            .await
            .expect("renamed");
        store.persist(Persist::Device(stored(1)));
        store.flush().await.expect_err("there is no table");
        let mut later = stored(1);
        later.expires_unix_s += 5;
        store.persist(Persist::Device(later.clone()));
        store.persist(Persist::Offline { device: id(1) });
        later.online = false;
        assert_eq!(store.stats().pending, 1);
        assert!(store.stats().failed >= 1);
        sqlx::raw_sql("ALTER TABLE hidden RENAME TO devices")
            .execute(pool)
            .await
            .expect("renamed");
        // A retry may be under way when the flush begins, so one more failure is possible.
        if store.flush().await.is_err() {
            store.flush().await.expect("the table is back");
        }
        assert_eq!(store.load().await.expect("read")[0].stored, later);
    }

    #[test]
    fn the_queue_takes_devices_up_to_its_bound() {
        let queue = Queue::default();
        let max = limits::STORE_PENDING_DEVICES_MAX as u32;
        for number in 0..max + 2 {
            queue.change(id(number), |change| change.see(1));
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 2);
        queue.change(id(0), |change| change.see(2));
        assert_eq!(
            queue.dropped.load(Ordering::Relaxed),
            2,
            "a device that waits already is changed"
        );
        assert_eq!(queue.take().0.len(), limits::STORE_PENDING_DEVICES_MAX);
    }

    #[test]
    fn later_changes_win() {
        let mut first = Change::default();
        first.register(stored(1));
        let mut second = Change::default();
        second.see(5);
        second.lose();
        let both = first.then(second);
        let device = both.registration.expect("registered");
        assert_eq!((device.last_seen_unix_s, device.online), (5, false));
        assert!(both.seen_unix_s.is_none() && !both.offline);

        let mut lost = Change::default();
        lost.lose();
        let mut again = Change::default();
        again.register(stored(1));
        let both = lost.then(again);
        assert!(both.registration.expect("registered").online && !both.offline);
    }

    /// Prints the cost; asserts only what holds on any machine.
    #[tokio::test]
    async fn twenty_thousand_devices_are_written_and_loaded() {
        const COUNT: u32 = 20_000;
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let start = std::time::Instant::now();
        let cpu = cpu_us();
        for number in 0..COUNT {
            store.persist(Persist::Device(stored(number)));
            if number % 500 == 499 {
                store.flush().await.expect("written");
            }
        }
        store.flush().await.expect("written");
        let per_row = (cpu_us() - cpu) / u64::from(COUNT);
        println!(
            "registration rows: {per_row} us CPU each, {:?} in all",
            start.elapsed()
        );
        for number in 0..COUNT {
            store.save_channels(id(number), vec![channel(1), channel(2)], false);
        }
        store.flush().await.expect("written");
        let start = std::time::Instant::now();
        let devices = store.load().await.expect("read");
        println!(
            "{} devices with 2 channels loaded in {:?}",
            devices.len(),
            start.elapsed()
        );
        assert_eq!(devices.len(), COUNT as usize);
        assert!(devices.iter().all(|d| d.channels.len() == 2));
    }

    /// User and system time of this process, in microseconds.
    fn cpu_us() -> u64 {
        // SAFETY: getrusage fills the struct that it is given.
        let usage = unsafe {
            let mut usage = std::mem::zeroed::<libc::rusage>();
            libc::getrusage(libc::RUSAGE_SELF, &mut usage);
            usage
        };
        let us = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
        us(usage.ru_utime) + us(usage.ru_stime)
    }
}
