//! Download tasks (GB/T 28181-2016, 9.9): what a device recorded becomes an MP4 file in the data folder.
//!
//! ```text
//!  create ─► waiting ─► running ──end of file──► joined to one MP4 ─► done
//!               ▲          │ the device stops, is lost, sends nothing: failed, with the reason; what came is kept
//!               ├─ resume ─┘ a restart of ours: waiting again
//!               └─ the device is away: waiting again, until it speaks
//! ```
//!
//! A task is a view of the device like any other, of a viewer that writes to a file. It is written as fragmented MP4, which
//! is whole at every moment; a task that is taken up again asks the device for the rest, as a further part, and
//! [`super::mp4`] makes one plain file of the parts at the end. Progress is the time of the pictures that came.
//!
//! In the folder `downloads`: `{task}/{ms}.part`, by where in the record a part begins, and `{task}.mp4`.
//!
//! Bounds: [`limits::DOWNLOAD_TASKS_MAX`] tasks; [`limits::DOWNLOAD_AWAY_S_MAX`] for a device that is away; `download.at_once` that run; `download.disk_bytes` of all files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;

use super::mp4;
use crate::egress::AudioPolicy;
use crate::gb28181::{Footage, Span};
use crate::id::{DeviceId, SessionId};
use crate::limits;
use crate::net::MediaHandle;
use crate::session::shell::Handle;
use crate::session::{
    self, Command, Owner, PlayEnd, PlayView, Presence, Reply, Target, ViewFailure, ViewKind,
};
use crate::store::table::Filter;
use crate::store::{self, DownloadRow, Store};

/// How often a running task says how far it is, and how often that is stored.
const WATCH: Duration = Duration::from_millis(500);
const STORE_EVERY: u32 = 6;
/// How often devices are looked for that tasks wait for.
const LOOK: Duration = Duration::from_secs(2);
/// After so many seconds a device that says that it is there is asked again though it was not heard since.
const AWAY_RETRY_S: i64 = 60;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Waiting,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl State {
    pub const ALL: [State; 5] = [
        State::Waiting,
        State::Running,
        State::Done,
        State::Failed,
        State::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

    fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One download.
#[derive(Clone, Debug)]
pub struct Task {
    pub id: u64,
    /// User who asked for it.
    pub owner: String,
    pub device: DeviceId,
    pub index: u32,
    pub span: Span,
    pub speed: u8,
    pub state: State,
    /// How much of the record is here.
    pub position_ms: u64,
    /// Of the file, or of its parts so far.
    pub bytes: u64,
    /// Why it failed, or what is to be known of it.
    pub reason: String,
    pub created_unix_s: i64,
    running: Option<SessionId>,
    /// When its device was asked in vain, in Unix seconds.
    away: Option<i64>,
}

/// Why a run of a task ended before its file was whole.
#[derive(Debug, PartialEq, Eq)]
enum Stopped {
    /// The device is not there: the task waits for it.
    Away(String),
    Failed(String),
}

impl From<session::Error> for Stopped {
    fn from(error: session::Error) -> Stopped {
        let reason = error.to_string();
        match error {
            // A device that is there as far as the store knows, and does not answer, is as likely gone.
            session::Error::DeviceOffline
            | session::Error::View(ViewFailure::NoAnswer | ViewFailure::DeviceLost, _) => {
                Stopped::Away(reason)
            }
            session::Error::NotFound { .. }
            | session::Error::Exists { .. }
            | session::Error::BadParameter { .. }
            | session::Error::BadField(_)
            | session::Error::Ask(_)
            | session::Error::PlaybackOver { .. }
            | session::Error::View(..)
            | session::Error::Busy { .. }
            | session::Error::ShuttingDown => Stopped::Failed(reason),
        }
    }
}

impl Task {
    pub fn total_ms(&self) -> u64 {
        u64::from(self.span.seconds()) * 1_000
    }

    /// 0 to 100; 100 is a file that can be fetched.
    pub fn percent(&self) -> u8 {
        match self.state {
            State::Done => 100,
            State::Waiting | State::Running | State::Failed | State::Cancelled => {
                (self.position_ms * 100 / self.total_ms().max(1)).min(99) as u8
            }
        }
    }

    fn row(&self) -> DownloadRow {
        DownloadRow {
            id: number(self.id),
            owner: self.owner.clone(),
            device: self.device.to_string(),
            channel: i64::from(self.index),
            begin_s: i64::from(self.span.begin_unix_s),
            end_s: i64::from(self.span.end_unix_s),
            speed: i64::from(self.speed),
            state: self.state.name().to_owned(),
            position_ms: number(self.position_ms),
            bytes: number(self.bytes),
            reason: self.reason.clone(),
            created_s: self.created_unix_s,
        }
    }

    /// A task as the store has it. `None`: a row that no task of ours can have left.
    pub fn of_row(row: DownloadRow) -> Option<Task> {
        let begin = u32::try_from(row.begin_s).ok()?;
        let end = u32::try_from(row.end_s).ok()?;
        Some(Task {
            id: u64::try_from(row.id).ok()?,
            owner: row.owner,
            device: DeviceId(row.device.parse().ok()?),
            index: u32::try_from(row.channel).ok()?,
            span: Span::new(begin, end)?,
            speed: u8::try_from(row.speed).ok()?.max(1),
            state: State::from_name(&row.state)?,
            position_ms: u64::try_from(row.position_ms).ok()?,
            bytes: u64::try_from(row.bytes).ok()?,
            reason: row.reason,
            created_unix_s: row.created_s,
            running: None,
            away: None,
        })
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Why a task was not made, or not taken up again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    NotFound,
    /// It runs, or is done.
    Not(State),
    /// At a bound, named.
    Full {
        limit: &'static str,
    },
    Store(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::NotFound => f.write_str("download not found"),
            Refused::Not(state) => write!(f, "the download is {}", state.name()),
            Refused::Full { limit } => write!(f, "busy: at the limit {limit}"),
            Refused::Store(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for Refused {}

/// How many and how much.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub at_once: usize,
    pub disk_bytes: u64,
}

/// All download tasks. Cheap to clone.
#[derive(Clone)]
pub struct Downloads {
    inner: Arc<Inner>,
}

struct Inner {
    session: Handle,
    media: MediaHandle,
    store: Store,
    folder: PathBuf,
    settings: Settings,
    tasks: Mutex<BTreeMap<u64, Task>>,
    /// Bytes of all files.
    used: AtomicU64,
    wake: Notify,
}

impl std::fmt::Debug for Downloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downloads")
            .field("tasks", &self.inner.lock().len())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Task>> {
        self.tasks
            .lock()
            .expect("nothing that holds this can panic")
    }

    fn parts_folder(&self, id: u64) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn file(&self, id: u64) -> PathBuf {
        self.folder.join(format!("{id}.mp4"))
    }

    async fn forget(&self, id: u64) -> Result<u64, store::Error> {
        let row = Filter::all().equal("id", number(id));
        self.store.remove::<DownloadRow>(row).await
    }

    /// Changes a task and stores it.
    async fn change(&self, id: u64, change: impl FnOnce(&mut Task)) {
        let row = {
            let mut tasks = self.lock();
            let Some(task) = tasks.get_mut(&id) else {
                return;
            };
            change(task);
            task.row()
        };
        let mut stored = self.store.put(&row).await.map(|()| 0);
        // It may have been removed meanwhile: it would come back with the next start.
        if !self.lock().contains_key(&id) {
            stored = self.forget(id).await;
        }
        if let Err(error) = stored {
            tracing::error!(task = id, %error, "a download cannot be stored");
        }
    }
}

impl Downloads {
    /// Takes up what the store knows, and begins. Errors: the folder cannot be made, or the store not read.
    pub async fn start(
        session: Handle,
        media: MediaHandle,
        store: Store,
        data: &Path,
        settings: Settings,
    ) -> Result<Downloads, Box<dyn std::error::Error + Send + Sync>> {
        let folder = data.join("downloads");
        fs::create_dir_all(&folder)?;
        let mut tasks = BTreeMap::new();
        for mut task in store
            .downloads()
            .await?
            .into_iter()
            .filter_map(Task::of_row)
        {
            // What ran when we ended goes on.
            if task.state == State::Running {
                task.state = State::Waiting;
                store.put(&task.row()).await?;
            }
            tasks.insert(task.id, task);
        }
        let inner = Inner {
            session,
            media,
            store,
            used: AtomicU64::new(folder_bytes(&folder)),
            folder,
            settings,
            tasks: Mutex::new(tasks),
            wake: Notify::new(),
        };
        let downloads = Downloads {
            inner: Arc::new(inner),
        };
        tokio::spawn(downloads.clone().run());
        Ok(downloads)
    }

    /// Asks for a stretch of a channel's record.
    pub async fn create(
        &self,
        owner: &str,
        device: DeviceId,
        index: u32,
        span: Span,
        speed: u8,
        now_unix_s: i64,
    ) -> Result<Task, Refused> {
        let task = {
            let mut tasks = self.inner.lock();
            if tasks.len() >= limits::DOWNLOAD_TASKS_MAX {
                let limit = "DOWNLOAD_TASKS_MAX";
                return Err(Refused::Full { limit });
            }
            if self.inner.used.load(Relaxed) >= self.inner.settings.disk_bytes {
                let limit = "download.disk_bytes";
                return Err(Refused::Full { limit });
            }
            let id = tasks.last_key_value().map_or(1, |(id, _)| id + 1);
            let task = Task {
                id,
                owner: owner.to_owned(),
                device,
                index,
                span,
                speed: speed.max(1),
                state: State::Waiting,
                position_ms: 0,
                bytes: 0,
                reason: String::new(),
                created_unix_s: now_unix_s,
                running: None,
                away: None,
            };
            tasks.insert(id, task.clone());
            task
        };
        if let Err(error) = self.inner.store.put(&task.row()).await {
            self.inner.lock().remove(&task.id);
            return Err(Refused::Store(error.to_string()));
        }
        self.inner.wake.notify_one();
        Ok(task)
    }

    pub fn get(&self, id: u64) -> Option<Task> {
        self.inner.lock().get(&id).cloned()
    }

    /// The task of the same stretch, if there is one that is not cancelled: done before others. `owner`: of this user alone.
    pub fn find(
        &self,
        device: DeviceId,
        index: u32,
        span: Span,
        owner: Option<&str>,
    ) -> Option<Task> {
        let tasks = self.inner.lock();
        let same = |t: &&Task| {
            t.device == device
                && t.index == index
                && t.span == span
                && t.state != State::Cancelled
                && owner.is_none_or(|owner| t.owner == owner)
        };
        let done = tasks
            .values()
            .rev()
            .filter(same)
            .find(|t| t.state == State::Done);
        done.or_else(|| tasks.values().rev().find(same)).cloned()
    }

    /// Where the file of a task lies that is done.
    pub fn path(&self, id: u64) -> PathBuf {
        self.inner.file(id)
    }

    /// A task that failed or was cancelled goes on where it was.
    pub async fn resume(&self, id: u64) -> Result<Task, Refused> {
        match self.get(id).map(|task| task.state) {
            None => return Err(Refused::NotFound),
            Some(State::Failed | State::Cancelled) => {}
            Some(state) => return Err(Refused::Not(state)),
        }
        self.inner
            .change(id, |task| {
                task.state = State::Waiting;
                task.reason.clear();
            })
            .await;
        self.inner.wake.notify_one();
        self.get(id).ok_or(Refused::NotFound)
    }

    /// Ends a task and removes it with its files.
    pub async fn remove(&self, id: u64) -> Result<(), Refused> {
        let task = self.inner.lock().remove(&id).ok_or(Refused::NotFound)?;
        if let Some(play) = task.running {
            // It ends by itself when the control thread is gone.
            let _ = self
                .inner
                .session
                .call(Command::ClosePlayback { play })
                .await;
        }
        let stored = self.inner.forget(id).await;
        let (parts, file) = (self.inner.parts_folder(id), self.inner.file(id));
        let inner = Arc::clone(&self.inner);
        let _ = spawn_blocking(move || {
            // What is not there needs no removing.
            let _ = fs::remove_dir_all(parts);
            let _ = fs::remove_file(file);
            inner.used.store(folder_bytes(&inner.folder), Relaxed);
        })
        .await;
        stored
            .map(|_| ())
            .map_err(|error| Refused::Store(error.to_string()))
    }

    /// Starts what waits, as many at once as may be, until the control thread is gone.
    async fn run(self) {
        let ended = self.inner.session.clone();
        let work = async {
            loop {
                while let Some(task) = self.take_next() {
                    let downloads = self.clone();
                    tokio::spawn(async move {
                        downloads.work(task).await;
                        downloads.inner.wake.notify_one();
                    });
                }
                if self.is_any_away() {
                    tokio::select! {
                        () = self.inner.wake.notified() => {}
                        () = tokio::time::sleep(LOOK) => self.look_for_devices().await,
                    }
                } else {
                    self.inner.wake.notified().await;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = ended.ended() => {}
        }
    }

    fn take_next(&self) -> Option<Task> {
        let mut tasks = self.inner.lock();
        let running = tasks.values().filter(|t| t.state == State::Running).count();
        if running >= self.inner.settings.at_once {
            return None;
        }
        let next = tasks
            .values_mut()
            .find(|t| t.state == State::Waiting && t.away.is_none())?;
        next.state = State::Running;
        Some(next.clone())
    }

    fn is_any_away(&self) -> bool {
        self.inner.lock().values().any(|t| t.away.is_some())
    }

    /// Lets tasks run whose device is there again.
    async fn look_for_devices(&self) {
        let wanted: BTreeSet<DeviceId> = {
            let tasks = self.inner.lock();
            let away = tasks.values().filter(|t| t.away.is_some());
            away.map(|t| t.device).collect()
        };
        let devices = wanted.into_iter().collect();
        let command = Command::Presence { devices };
        let Ok(Reply::Presence(found)) = self.inner.session.call(command).await else {
            return;
        };
        let now = unix_s();
        for task in self.inner.lock().values_mut() {
            let device = found.iter().find(|p| p.device == task.device);
            if let (Some(since), Some(device)) = (task.away, device)
                && is_back(device, since, now)
            {
                task.away = None;
            }
        }
    }

    async fn work(&self, task: Task) {
        let id = task.id;
        let began = unix_s();
        tracing::info!(task = id, device = %task.device, "download begins");
        // So that lists, which the store makes, show that it runs.
        self.inner.change(id, |_| ()).await;
        let outcome = self.fetch(&task).await;
        let Some(after) = self.get(id) else {
            // It was removed while it ran.
            return;
        };
        let finished = match outcome {
            Ok(Some(note)) => self.finish(id).await.map(|bytes| (bytes, note)),
            // We are being shut down: it stays as it runs, and goes on at the next start.
            Ok(None) => return,
            Err(Stopped::Away(reason)) if may_wait(task.created_unix_s, unix_s()) => {
                return self.wait_for_device(id, reason, began).await;
            }
            Err(Stopped::Away(reason) | Stopped::Failed(reason)) => Err(reason),
        };
        match finished {
            Ok((bytes, note)) => {
                self.inner
                    .change(id, |task| {
                        task.state = State::Done;
                        task.bytes = bytes;
                        task.reason = note;
                        task.running = None;
                    })
                    .await;
                tracing::info!(task = id, bytes, "download done");
            }
            Err(reason) => {
                tracing::warn!(task = id, device = %after.device, %reason, "download failed");
                self.inner
                    .change(id, |task| {
                        task.state = State::Failed;
                        task.reason = reason;
                        task.running = None;
                    })
                    .await;
            }
        }
    }

    /// Puts a task back whose device is away. What it says from `asked` on, in Unix seconds, when it was asked in vain, shows
    /// that it is there again: a device that came up meanwhile has registered before it was given up.
    async fn wait_for_device(&self, id: u64, reason: String, asked: i64) {
        tracing::info!(task = id, %reason, "download waits for its device");
        self.inner
            .change(id, |task| {
                task.state = State::Waiting;
                task.reason = format!("waiting for the device: {reason}");
                task.running = None;
                task.away = Some(asked);
            })
            .await;
    }

    /// One run: from where the last one ended. `Ok(Some)`: all is here, with what is to be said of it; `Ok(None)`: the node
    /// is being shut down. Errors: why there is no more.
    async fn fetch(&self, task: &Task) -> Result<Option<String>, Stopped> {
        // Devices begin at a key frame at or after the second that they are asked for; a second twice is left out later.
        let from_s = (task.position_ms / 1_000).saturating_sub(1) as u32;
        let begin = task.span.begin_unix_s + from_s;
        let Some(rest) = Span::new(begin, task.span.end_unix_s) else {
            return Ok(Some(String::new()));
        };
        let footage = Footage::Download {
            span: rest,
            speed: task.speed,
        };
        let command = Command::Open {
            target: Target::Record {
                device: task.device,
                index: task.index,
                footage,
            },
            kind: ViewKind::File,
            owner: Owner {
                user: task.owner.clone(),
                ..Owner::default()
            },
        };
        let opened = match self.inner.session.call(command).await {
            Ok(Reply::Opened(opened)) => opened,
            Ok(_) => {
                let reason = "the control thread gave another reply";
                return Err(Stopped::Failed(reason.into()));
            }
            Err(session::Error::ShuttingDown) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let play = opened.session;
        let begin_ms = u64::from(from_s) * 1_000;
        let bytes = self
            .inner
            .media
            .add_channel(
                opened.stream,
                play,
                ViewKind::File,
                AudioPolicy::Playable,
                None,
            )
            .await;
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                let _ = self
                    .inner
                    .session
                    .call(Command::ClosePlayback { play })
                    .await;
                let reason = format!("the stream ended before it was written: {error:?}");
                return Err(Stopped::Failed(reason));
            }
        };
        if let Some(task) = self.inner.lock().get_mut(&task.id) {
            task.running = Some(play);
            task.reason.clear();
        }
        let path = self.inner.parts_folder(task.id);
        let inner = Arc::clone(&self.inner);
        let id = task.id;
        let mut writing = spawn_blocking(move || write_part(&inner, id, &path, begin_ms, bytes));
        let mut turn = 0u32;
        let written = loop {
            tokio::select! {
                written = &mut writing => break written,
                () = tokio::time::sleep(WATCH) => {
                    turn += 1;
                    self.watch(id, play, begin_ms, turn.is_multiple_of(STORE_EVERY)).await;
                }
            }
        };
        let last = self.watch(id, play, begin_ms, true).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => {
                let _ = self
                    .inner
                    .session
                    .call(Command::ClosePlayback { play })
                    .await;
                return Err(Stopped::Failed(reason));
            }
            Err(error) => return Err(Stopped::Failed(format!("writing the file: {error}"))),
        }
        judge(last)
    }

    /// Notes how far a running task is.
    async fn watch(
        &self,
        id: u64,
        play: SessionId,
        begin_ms: u64,
        store: bool,
    ) -> Option<PlayView> {
        let reply = self.inner.session.call(Command::Playback { play }).await;
        let Ok(Reply::Playback(view)) = reply else {
            return None;
        };
        let note = |task: &mut Task| {
            let here = begin_ms + view.position_ms;
            task.position_ms = task.position_ms.max(here).min(task.total_ms());
        };
        if store {
            self.inner.change(id, note).await;
        } else if let Some(task) = self.inner.lock().get_mut(&id) {
            note(task);
        }
        Some(*view)
    }

    /// Makes one file of the parts. Gives its bytes.
    async fn finish(&self, id: u64) -> Result<u64, String> {
        let inner = Arc::clone(&self.inner);
        let joined = spawn_blocking(move || -> Result<u64, mp4::Error> {
            let folder = inner.parts_folder(id);
            let parts = parts(&folder)?;
            let (path, unfinished) = (inner.file(id), inner.folder.join(format!("{id}.mp4.new")));
            let file = File::create(&unfinished)?;
            let made = mp4::join(&parts, &file).and_then(|_| Ok(file.sync_all()?));
            if let Err(error) = made {
                let _ = fs::remove_file(&unfinished);
                return Err(error);
            }
            fs::rename(&unfinished, &path)?;
            let bytes = fs::metadata(&path)?.len();
            fs::remove_dir_all(&folder)?;
            inner.used.store(folder_bytes(&inner.folder), Relaxed);
            Ok(bytes)
        });
        match joined.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(format!("making the file: {error}")),
            Err(error) => Err(format!("making the file: {error}")),
        }
    }
}

/// Whether all of a record came. `None`: nothing more can be asked of the control thread.
fn judge(last: Option<PlayView>) -> Result<Option<String>, Stopped> {
    let Some(view) = last else { return Ok(None) };
    match view.end {
        Some(PlayEnd::EndOfFile) if view.position_ms < view.duration_ms => {
            let (at, of) = (view.position_ms, view.duration_ms);
            let s = |ms: u64| ms as f64 / 1_000.0;
            Ok(Some(format!(
                "end of file at {:.1} s of {:.1} s: the device has no more",
                s(at),
                s(of)
            )))
        }
        Some(PlayEnd::EndOfFile) => Ok(Some(String::new())),
        Some(PlayEnd::Shutdown) => Ok(None),
        Some(end @ PlayEnd::DeviceLost { .. }) => Err(Stopped::Away(end.to_string())),
        Some(
            end @ (PlayEnd::StoppedEarly { .. }
            | PlayEnd::NoMedia { .. }
            | PlayEnd::Failed
            | PlayEnd::Closed),
        ) => Err(Stopped::Failed(end.to_string())),
        None => Err(Stopped::Failed(
            "the file could not be written as fast as it came".into(),
        )),
    }
}

/// Whether a device that was asked in vain at `since` is to be asked again.
fn is_back(device: &Presence, since: i64, now: i64) -> bool {
    device.online && (device.last_seen_unix_s >= since || now - since >= AWAY_RETRY_S)
}

/// Whether a task may wait for its device any longer.
fn may_wait(created_s: i64, now_s: i64) -> bool {
    now_s - created_s < limits::DOWNLOAD_AWAY_S_MAX
}

fn unix_s() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// Writes what comes, up to its end. Errors: why no more can be written, for people.
fn write_part(
    inner: &Inner,
    id: u64,
    folder: &Path,
    begin_ms: u64,
    mut bytes: mpsc::Receiver<Bytes>,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("writing the file: {error}");
    fs::create_dir_all(folder).map_err(failed)?;
    let path = folder.join(format!("{begin_ms}.part"));
    let mut file = File::create(path).map_err(failed)?;
    while let Some(piece) = bytes.blocking_recv() {
        let used = inner.used.fetch_add(piece.len() as u64, Relaxed);
        if used + piece.len() as u64 > inner.settings.disk_bytes {
            return Err("the disk budget download.disk_bytes is used up; remove downloads".into());
        }
        file.write_all(&piece).map_err(failed)?;
        if let Some(task) = inner.lock().get_mut(&id) {
            task.bytes += piece.len() as u64;
        }
    }
    file.sync_all().map_err(failed)
}

/// The parts of a task by where they begin.
fn parts(folder: &Path) -> io::Result<Vec<mp4::Part>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|n| n.to_str());
        let Some(begin_ms) = name.and_then(|n| n.parse::<u64>().ok()) else {
            continue;
        };
        found.push(mp4::Part {
            file: File::open(&path)?,
            begin_ms,
        });
    }
    found.sort_by_key(|part| part.begin_ms);
    Ok(found)
}

/// Bytes of all files of a folder and of those in it.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_away_is_waited_for_and_not_for_ever() {
        let lost = PlayEnd::DeviceLost { at_ms: 1, of_ms: 2 };
        for (error, away) in [
            (session::Error::DeviceOffline, true),
            (session::Error::View(ViewFailure::NoAnswer, None), true),
            (session::Error::View(ViewFailure::DeviceLost, None), true),
            (session::Error::View(ViewFailure::NoRtp, None), false),
            (session::Error::NotFound { what: "channel" }, false),
            (session::Error::PlaybackOver { end: lost }, false),
        ] {
            let stopped = Stopped::from(error.clone());
            assert_eq!(matches!(stopped, Stopped::Away(_)), away, "{error}");
        }
        assert!(may_wait(1_000, 1_000 + limits::DOWNLOAD_AWAY_S_MAX - 1));
        assert!(!may_wait(1_000, 1_000 + limits::DOWNLOAD_AWAY_S_MAX));
    }

    #[test]
    fn a_device_is_back_when_it_speaks_or_after_a_while_if_it_never_left() {
        let seen = |online, last_seen_unix_s| Presence {
            device: DeviceId("34020000001320000001".parse().expect("a code")),
            online,
            last_seen_unix_s,
        };
        assert!(is_back(&seen(true, 100), 100, 101));
        assert!(!is_back(&seen(true, 99), 100, 101));
        assert!(is_back(&seen(true, 50), 100, 100 + AWAY_RETRY_S));
        assert!(!is_back(&seen(false, 50), 100, 100 + AWAY_RETRY_S));
    }
}
