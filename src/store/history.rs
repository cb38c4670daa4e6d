//! What happened: alarms, positions, comings and goings, dialogs, and every change that somebody made.
//!
//! Rows are taken by a queue and written by one task, many in a transaction. A row's id grows with time, so that lists are
//! in order and pages of them do not shift; it fits a number of JavaScript.
//!
//! Rows go when they are too old, and the oldest when there are too many ([`Retention`]): looked at once an hour and
//! after each tenth of the bound, so a table never holds more than its bound and a tenth.
//!
//! Bounds: [`limits::HISTORY_WAITING_MAX`]; rows by [`Retention`].

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::AnyPool;
use tokio::sync::mpsc;

use super::bulk::{AnyTransaction, Bulk, bind_value};
use super::rows::OpenDialog;
use super::table::{Table, Value, bound, table, upsert};
use crate::limits;

table! {
    /// An alarm (bvcsp 1.3).
    pub struct AlarmRow in "alarms" by ["id"] {
        /// Names the alarm; grows with time.
        #[schema(example = 7340032000000000_i64)]
        pub id: i64,
        /// When it came here, Unix seconds.
        #[schema(example = 1792000000)]
        pub time: i64,
        #[schema(example = "PU_34020000001110000001")]
        pub device: String,
        /// Of the device.
        pub name: String,
        /// Index of the channel; missing = the device.
        pub place: Option<i64>,
        /// bvcsp 1.3; from 0x10000000 on `0x10000000 | method << 8 | type` of GB/T 28181.
        #[schema(example = 4097)]
        pub alarm_type: i64,
        /// 1 (highest) to 4.
        pub priority: i64,
        /// 1 raised, 2 handled.
        pub status: i64,
        #[schema(example = "motion")]
        pub description: String,
        pub longitude: Option<f64>,
        pub latitude: Option<f64>,
        /// The alarm as the device told it, as JSON.
        pub payload: String,
        /// Who handled it.
        pub processor_id: String,
        /// What that one says of it.
        pub note: String,
        /// When, Unix seconds.
        pub processed: Option<i64>,
    }
}

table! {
    /// Where a device or a channel of it was (bvcsp 1.3).
    pub struct PositionRow in "positions" by ["id"] {
        pub id: i64,
        /// When it was told, Unix seconds.
        #[schema(example = 1792000000)]
        pub time: i64,
        #[schema(example = "PU_34020000001110000001")]
        pub device: String,
        /// Code of the channel, or of what else in the device's directory was there; `""` = the device.
        pub channel: String,
        /// Index of the channel; missing = none.
        pub place: Option<i64>,
        pub lng: Option<f64>,
        pub lat: Option<f64>,
        /// Metres.
        pub height: Option<f64>,
        /// km/h.
        pub speed: Option<f64>,
        /// Degrees from the north, clockwise.
        pub angle: Option<f64>,
    }
}

table! {
    /// What a device told beside alarms and positions.
    pub struct NoticeRow in "notices" by ["id"] {
        pub id: i64,
        /// When it came here, Unix seconds.
        #[schema(example = 1792000000)]
        pub time: i64,
        #[schema(example = "PU_34020000001110000001")]
        pub device: String,
        /// Index of the channel; missing = the device.
        pub place: Option<i64>,
        /// `ptzPosition` or `videoUpload`.
        #[schema(example = "ptzPosition")]
        pub kind: String,
        /// What it told, as JSON.
        #[schema(example = "{\"pan\":180.0,\"tilt\":-10.5,\"zoom\":4.0}")]
        pub payload: String,
    }
}

table! {
    /// Somebody was there from then to then.
    pub struct PresenceRow in "presences" by ["id"] {
        pub id: i64,
        /// When it came, Unix seconds.
        #[schema(example = 1792000000)]
        pub time: i64,
        /// `PU` a device, `CU` a user.
        pub kind: String,
        /// `PU_` and the code of a device, or the name of a user.
        #[schema(example = "PU_34020000001110000001")]
        pub name: String,
        #[schema(example = "192.168.1.64:5060")]
        pub address: String,
        /// Of a user: which login.
        #[serde(skip)]
        pub token_id: String,
        /// When it went; missing = it is there, or the node was cut off.
        pub offline_time: Option<i64>,
        /// Seconds.
        pub duration: Option<i64>,
    }
}

table! {
    /// A dialog.
    pub struct DialogRow in "dialogs" by ["id"] {
        /// Its `dialogid`.
        pub id: i64,
        /// When it was opened, Unix seconds.
        #[schema(example = 1792000000)]
        pub time: i64,
        /// `PU_` and the code of the device, or the name of a stream.
        #[schema(example = "PU_34020000001110000001")]
        pub device: String,
        pub place: i64,
        pub user_id: String,
        pub address: String,
        /// Protocol of the viewer.
        #[schema(example = "webrtc")]
        pub kind: String,
        /// Missing = it is open.
        pub close_time: Option<i64>,
        /// Seconds; 0 while it is open.
        pub duration: i64,
        pub sent_bytes: i64,
        /// Why no picture came, if none did; `node restart`: the node ended before it, and `closeTime` is when it came back.
        pub failure: String,
    }
}

table! {
    /// A change that somebody made.
    pub struct OperationRow in "operations" by ["id"] {
        pub id: i64,
        /// Unix seconds.
        #[schema(example = 1792000000)]
        pub time: i64,
        #[schema(example = "admin")]
        pub user_id: String,
        /// From where.
        #[schema(example = "192.168.1.5:50000")]
        pub address: String,
        #[schema(example = "PUT")]
        pub method: String,
        /// The call.
        #[schema(example = "/bvcsp/v1/pu/info/{puid}")]
        pub path: String,
        /// What it was called with in the path.
        #[schema(example = "PU_34020000001110000001")]
        pub target: String,
        /// The code of the answer, or the HTTP status where no code is given.
        #[schema(example = 0)]
        pub result: i64,
        /// The body without secrets, cut at 1,024 bytes.
        pub description: String,
    }
}

/// Something to be written down.
#[derive(Clone, Debug)]
pub enum Entry {
    Alarm(Box<AlarmRow>),
    Position(PositionRow),
    Notice(Box<NoticeRow>),
    /// Somebody came. Who was there by the same name and login before has gone.
    Came(PresenceRow),
    /// Somebody went.
    Went {
        kind: &'static str,
        name: String,
        token_id: String,
        time: i64,
    },
    Dialog(Box<DialogRow>),
    /// A dialog with a device has begun.
    DialogBegun(Box<OpenDialog>),
    DialogOver {
        call_id: String,
    },
    Operation(Box<OperationRow>),
}

/// How long and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub alarm_days: u32,
    pub position_days: u32,
    pub log_days: u32,
    /// Rows of each table.
    pub rows_max: u32,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            alarm_days: 90,
            position_days: 30,
            log_days: 180,
            rows_max: 1_000_000,
        }
    }
}

/// Writes down what happens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Chronicle {
    queue: mpsc::Sender<Note>,
    last_id: Arc<AtomicI64>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Note {
    Entry(Entry),
    /// Told when everything before it is written.
    Flush(tokio::sync::oneshot::Sender<()>),
    Retention(Retention),
}

impl Chronicle {
    pub(super) fn start(pool: AnyPool) -> Chronicle {
        let (queue, taken) = mpsc::channel(limits::HISTORY_WAITING_MAX);
        tokio::spawn(run(pool, taken));
        Chronicle {
            queue,
            last_id: Arc::default(),
            dropped: Arc::default(),
        }
    }

    /// A number greater than those before, also those of earlier runs: milliseconds since 1970, and 12 bits.
    pub fn next_id(&self) -> i64 {
        let now = unix_ms() << 12;
        let before = self.last_id.fetch_max(now, Ordering::Relaxed);
        if before < now {
            now
        } else {
            self.last_id.fetch_add(1, Ordering::Relaxed) + 1
        }
    }

    /// Waits for room: for what must not be lost.
    pub async fn write(&self, entry: Entry) {
        // Fails only when the node ends.
        let _ = self.queue.send(Note::Entry(entry)).await;
    }

    /// Never waits. Without room the entry is dropped and counted.
    pub fn note(&self, entry: Entry) {
        if self.queue.try_send(Note::Entry(entry)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Entries that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub async fn set_retention(&self, retention: Retention) {
        let _ = self.queue.send(Note::Retention(retention)).await;
    }

    /// Returns when what was taken so far is written, or was refused by the database.
    pub async fn flush(&self) {
        let (told, wait) = tokio::sync::oneshot::channel();
        if self.queue.send(Note::Flush(told)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

/// For how long what happens is gathered before it is written.
const GATHER: Duration = Duration::from_millis(limits::STORE_BATCH_WAIT_MS_MAX);

async fn run(pool: AnyPool, mut queue: mpsc::Receiver<Note>) {
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut retention = Retention::default();
    let mut since_prune = 0_u32;
    let mut notes = Vec::new();
    loop {
        notes.clear();
        let waited =
            tokio::time::timeout(HOUR, queue.recv_many(&mut notes, limits::HISTORY_BATCH_MAX));
        let hour = match waited.await {
            Ok(0) => return,
            Ok(_) => false,
            Err(_) => true,
        };
        // What comes in a crowd is written together: a transaction costs more than a row.
        if !hour && !notes.iter().any(|note| matches!(note, Note::Flush(_))) {
            tokio::time::sleep(GATHER).await;
            while notes.len() < limits::HISTORY_BATCH_MAX
                && let Ok(note) = queue.try_recv()
            {
                notes.push(note);
            }
        }
        let mut entries = Vec::new();
        let mut told = Vec::new();
        let mut changed = false;
        for note in notes.drain(..) {
            match note {
                Note::Entry(entry) => entries.push(entry),
                Note::Flush(one) => told.push(one),
                Note::Retention(new) => {
                    changed |= retention != new;
                    retention = new;
                }
            }
        }
        since_prune = since_prune.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        if !entries.is_empty()
            && let Err(error) = write(&pool, &entries).await
        {
            tracing::error!(%error, entries = entries.len(), "the database refuses history; these entries are lost");
        }
        if hour || changed || since_prune > retention.rows_max / 10 {
            since_prune = 0;
            if let Err(error) = prune(&pool, &retention, unix_ms() / 1000).await {
                tracing::error!(%error, "old history cannot be removed; tried again in an hour");
            }
        }
        for one in told {
            // Who asked may have gone.
            let _ = one.send(());
        }
    }
}

static ALARMS: LazyLock<Bulk> = LazyLock::new(Bulk::upsert::<AlarmRow>);
static POSITIONS: LazyLock<Bulk> = LazyLock::new(Bulk::upsert::<PositionRow>);
static NOTICES: LazyLock<Bulk> = LazyLock::new(Bulk::upsert::<NoticeRow>);
static OPERATIONS: LazyLock<Bulk> = LazyLock::new(Bulk::upsert::<OperationRow>);
static COMING: LazyLock<Bulk> = LazyLock::new(Bulk::upsert::<PresenceRow>);
static GOING: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "WITH gone (kind, name, token, at) AS (VALUES",
        4,
        ") UPDATE presences SET offline_time = gone.at, duration = gone.at - presences.time FROM gone \
         WHERE presences.kind = gone.kind AND presences.name = gone.name AND presences.token_id = gone.token \
         AND presences.offline_time = -1",
    )
});

/// Rows that are written together: what happens in a crowd would cost more by single statements than what caused it.
#[derive(Default)]
struct Crowd<'e> {
    alarms: Vec<&'e AlarmRow>,
    positions: Vec<&'e PositionRow>,
    notices: Vec<&'e NoticeRow>,
    operations: Vec<&'e OperationRow>,
    /// Who goes, and who comes: that one has gone before.
    going: Vec<(Person<'e>, i64)>,
    coming: Vec<&'e PresenceRow>,
    /// Who is in one of the two.
    moving: HashSet<Person<'e>>,
}

/// Kind, name and login.
type Person<'e> = (&'e str, &'e str, &'e str);

impl<'e> Crowd<'e> {
    async fn presences(&mut self, transaction: &mut AnyTransaction<'_>) -> sqlx::Result<()> {
        GOING
            .run(
                transaction,
                &self.going,
                |query, ((kind, name, token), time)| {
                    let texts = [*kind, *name, *token].map(Value::from);
                    let query = texts.into_iter().fold(query, bind_value);
                    query.bind(*time)
                },
            )
            .await?;
        COMING.rows(transaction, &self.coming).await?;
        self.going.clear();
        self.coming.clear();
        self.moving.clear();
        Ok(())
    }

    /// Who moves twice does so in the order of it.
    async fn moves(
        &mut self,
        transaction: &mut AnyTransaction<'_>,
        person: Person<'e>,
        time: i64,
    ) -> sqlx::Result<()> {
        if !self.moving.insert(person) {
            self.presences(transaction).await?;
            self.moving.insert(person);
        }
        self.going.push((person, time));
        Ok(())
    }

    async fn write(mut self, transaction: &mut AnyTransaction<'_>) -> sqlx::Result<()> {
        self.presences(transaction).await?;
        ALARMS.rows(transaction, &self.alarms).await?;
        POSITIONS.rows(transaction, &self.positions).await?;
        NOTICES.rows(transaction, &self.notices).await?;
        OPERATIONS.rows(transaction, &self.operations).await
    }
}

async fn write(pool: &AnyPool, entries: &[Entry]) -> sqlx::Result<()> {
    async fn row<T: Table>(transaction: &mut AnyTransaction<'_>, row: &T) -> sqlx::Result<()> {
        let sql = upsert::<T>();
        let query = bound(&sql, &row.values());
        query.execute(&mut **transaction).await.map(|_| ())
    }
    let mut transaction = pool.begin().await?;
    let mut crowd = Crowd::default();
    for entry in entries {
        match entry {
            Entry::Came(presence) => {
                let person = (&*presence.kind, &*presence.name, &*presence.token_id);
                crowd.moves(&mut transaction, person, presence.time).await?;
                crowd.coming.push(presence);
            }
            Entry::Went {
                kind,
                name,
                token_id,
                time,
            } => {
                let person = (*kind, &**name, &**token_id);
                crowd.moves(&mut transaction, person, *time).await?;
            }
            Entry::Alarm(alarm) => crowd.alarms.push(alarm),
            Entry::Position(position) => crowd.positions.push(position),
            Entry::Notice(notice) => crowd.notices.push(notice),
            Entry::Operation(operation) => crowd.operations.push(operation),
            // One may be written again in the same transaction.
            Entry::Dialog(dialog) => row(&mut transaction, &**dialog).await?,
            Entry::DialogBegun(dialog) => row(&mut transaction, &**dialog).await?,
            Entry::DialogOver { call_id } => {
                let sql = "DELETE FROM open_dialogs WHERE call_id = $1";
                let values = [Value::from(call_id.as_str())];
                bound(sql, &values).execute(&mut *transaction).await?;
            }
        }
    }
    crowd.write(&mut transaction).await?;
    transaction.commit().await
}

async fn prune(pool: &AnyPool, retention: &Retention, now_unix_s: i64) -> sqlx::Result<()> {
    let tables = [
        (AlarmRow::NAME, retention.alarm_days),
        (PositionRow::NAME, retention.position_days),
        (NoticeRow::NAME, retention.position_days),
        (PresenceRow::NAME, retention.log_days),
        (DialogRow::NAME, retention.log_days),
        (OperationRow::NAME, retention.log_days),
    ];
    for (name, days) in tables {
        let oldest = now_unix_s - i64::from(days) * 86_400;
        let sql = format!("DELETE FROM {name} WHERE time < $1");
        bound(&sql, &[oldest.into()]).execute(pool).await?;
        let sql = format!(
            "DELETE FROM {name} WHERE id <= (SELECT id FROM {name} ORDER BY id DESC LIMIT 1 OFFSET $1)"
        );
        bound(&sql, &[i64::from(retention.rows_max).into()])
            .execute(pool)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::table::{Filter, Page};
    use crate::store::tests::folder;

    fn alarm(chronicle: &Chronicle, time: i64, device: &str) -> Entry {
        Entry::Alarm(Box::new(AlarmRow {
            id: chronicle.next_id(),
            time,
            device: device.into(),
            alarm_type: 4097,
            status: 1,
            longitude: Some(-0.25),
            ..AlarmRow::default()
        }))
    }

    #[tokio::test]
    async fn pages_filters_and_order_are_the_database_s() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let now = unix_ms() / 1000;
        for n in 0..25 {
            let device = if n % 5 == 0 { "PU_50%_a" } else { "PU_b" };
            store
                .chronicle()
                .write(alarm(store.chronicle(), now - 100 + n, device))
                .await;
        }
        store.chronicle().flush().await;
        let page = Page {
            skip: 2,
            take: 2,
            order: "time DESC".into(),
        };
        let filter = Filter::all().equal("device", "PU_50%_a").within(
            "time",
            Some(now - 100),
            Some(now - 81),
        );
        let (rows, total) = store.list::<AlarmRow>(filter, &page).await.expect("read");
        assert_eq!(total, 4);
        let times: Vec<i64> = rows.iter().map(|row| row.time).collect();
        assert_eq!(times, [now - 95, now - 100]);
        assert_eq!(
            (rows[0].longitude, rows[0].latitude, rows[0].place),
            (Some(-0.25), None, None)
        );
        for (word, want) in [("0%_", 5), ("pu_B", 20), ("%", 5), ("x", 0), (" ", 25)] {
            let filter = Filter::all().contains(&["device", "name"], word);
            assert_eq!(
                store.count::<AlarmRow>(filter).await.expect("counted"),
                want,
                "{word}"
            );
        }
        let none = Filter::all().one_of("device", vec![]);
        assert_eq!(store.count::<AlarmRow>(none).await.expect("counted"), 0);
    }

    #[tokio::test]
    async fn rows_go_by_age_and_by_number() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let now = unix_ms() / 1000;
        let retention = Retention {
            alarm_days: 1,
            rows_max: 10,
            ..Retention::default()
        };
        store.chronicle().set_retention(retention).await;
        store
            .chronicle()
            .write(alarm(store.chronicle(), now - 86_401, "old"))
            .await;
        for _ in 0..12 {
            store
                .chronicle()
                .write(alarm(store.chronicle(), now, "new"))
                .await;
        }
        store.chronicle().flush().await;
        prune(&store.inner.pool, &retention, now)
            .await
            .expect("pruned");
        let count = |device: &'static str| {
            let filter = Filter::all().equal("device", device);
            let store = store.clone();
            async move { store.count::<AlarmRow>(filter).await.expect("counted") }
        };
        assert_eq!((count("old").await, count("new").await), (0, 10));
    }

    #[tokio::test]
    async fn who_comes_again_has_gone_before() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let came = |time| {
            Entry::Came(PresenceRow {
                id: store.chronicle().next_id(),
                time,
                kind: "PU".into(),
                name: "PU_1".into(),
                ..PresenceRow::default()
            })
        };
        store.chronicle().write(came(100)).await;
        store.chronicle().write(came(160)).await;
        store.chronicle().flush().await;
        let rows = store
            .every::<PresenceRow>(Filter::all(), 10)
            .await
            .expect("read");
        assert_eq!(
            (rows[0].offline_time, rows[0].duration),
            (Some(160), Some(60))
        );
        assert_eq!((rows[1].offline_time, rows[1].duration), (None, None));
    }

    #[test]
    fn ids_grow_and_fit_a_number_of_javascript() {
        let (queue, _taken) = mpsc::channel(1);
        let chronicle = Chronicle {
            queue,
            last_id: Arc::default(),
            dropped: Arc::default(),
        };
        let ids: Vec<i64> = (0..10_000).map(|_| chronicle.next_id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b) && ids[0] > 0);
        assert!(ids[9_999] < 1 << 53);
        let entry = || Entry::Position(PositionRow::default());
        chronicle.note(entry());
        chronicle.note(entry());
        assert_eq!(chronicle.dropped(), 1, "at the bound");
    }
}
