//! Devices and channels as rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

use crate::gb28181::gb35114::SharedKey;
use crate::gb28181::{
    CatalogItem, Condition, DeviceAuth, DeviceInfo, MediaTransport, StoredDevice,
};
use crate::id::{DeviceId, GbId};
use crate::limits;
use crate::session::{DevicePolicy, RestoredDevice};

use super::bulk::{AnyQuery, AnyTransaction, Bulk};
use super::seal::Sealer;
use super::tree::{self, Known, Moved, Says};

/// What changed of one device since it was last written.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub registration: Option<StoredDevice>,
    /// Set only while `registration` is not.
    pub seen_unix_s: Option<i64>,
    /// Set only while `registration` is not.
    pub offline: bool,
    pub info: Option<DeviceInfo>,
    pub transport: Option<MediaTransport>,
    pub channels: Option<(Vec<CatalogItem>, bool)>,
    pub directory: Option<Vec<CatalogItem>>,
    /// Of GB 35114; the inner `None` removes it.
    pub key: Option<Option<SharedKey>>,
    /// Single channels by place, on top of `channels`.
    pub single: BTreeMap<u32, CatalogItem>,
    /// Single nodes by code, in the order in which they changed, on top of `directory`; `None` is no more. At most
    /// [`limits::NODE_CHANGES_WAITING_MAX`]: what comes beyond waits for the next directory.
    pub nodes: Vec<(String, Option<CatalogItem>)>,
}

impl Change {
    pub fn list(&mut self, channels: Vec<CatalogItem>, partial: bool) {
        self.channels = Some((channels, partial));
        self.single.clear();
    }

    pub fn channel(&mut self, place: u32, item: CatalogItem) {
        self.single.insert(place, item);
    }

    pub fn tree(&mut self, nodes: Vec<CatalogItem>) {
        self.directory = Some(nodes);
        self.nodes.clear();
    }

    pub fn node(&mut self, id: String, item: Option<CatalogItem>) {
        self.nodes.retain(|(known, _)| *known != id);
        if self.nodes.len() < limits::NODE_CHANGES_WAITING_MAX {
            self.nodes.push((id, item));
        }
    }

    pub fn register(&mut self, device: StoredDevice) {
        self.registration = Some(device);
        self.seen_unix_s = None;
        self.offline = false;
    }

    pub fn see(&mut self, unix_s: i64) {
        match &mut self.registration {
            Some(device) => device.last_seen_unix_s = unix_s,
            None => self.seen_unix_s = Some(unix_s),
        }
    }

    pub fn lose(&mut self) {
        match &mut self.registration {
            Some(device) => device.online = false,
            None => self.offline = true,
        }
    }

    /// Puts what came later over this.
    pub fn then(mut self, later: Change) -> Change {
        if let Some(device) = later.registration {
            self.register(device);
        }
        if let Some(unix_s) = later.seen_unix_s {
            self.see(unix_s);
        }
        if later.offline {
            self.lose();
        }
        self.info = later.info.or(self.info);
        self.transport = later.transport.or(self.transport);
        self.key = later.key.or(self.key);
        if let Some((channels, partial)) = later.channels {
            self.list(channels, partial);
        }
        for (place, item) in later.single {
            self.channel(place, item);
        }
        if let Some(nodes) = later.directory {
            self.tree(nodes);
        }
        for (id, item) in later.nodes {
            self.node(id, item);
        }
        self
    }
}

static REGISTER: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO devices (id, auth, password, peer, over_tcp, online, expires_s, last_seen_s, gb_version) VALUES",
        9,
        "ON CONFLICT (id) DO UPDATE SET auth = excluded.auth, password = excluded.password, peer = excluded.peer, \
         over_tcp = excluded.over_tcp, online = excluded.online, expires_s = excluded.expires_s, \
         last_seen_s = excluded.last_seen_s, gb_version = excluded.gb_version",
    )
});

// Keepalives and losses of devices that were never stored change nothing.
static SEEN: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "WITH changed (device, seen) AS (VALUES",
        2,
        ") UPDATE devices SET last_seen_s = changed.seen FROM changed WHERE devices.id = changed.device",
    )
});

static OFFLINE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "WITH changed (device) AS (VALUES",
        1,
        ") UPDATE devices SET online = 0 FROM changed WHERE devices.id = changed.device",
    )
});

static INFO: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO devices (id, name, manufacturer, model, firmware, channel_count) VALUES",
        6,
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name, manufacturer = excluded.manufacturer, \
         model = excluded.model, firmware = excluded.firmware, channel_count = excluded.channel_count",
    )
});

static TRANSPORT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO devices (id, media_transport) VALUES",
        2,
        "ON CONFLICT (id) DO UPDATE SET media_transport = excluded.media_transport",
    )
});

static PARTIAL: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO devices (id, catalog_partial) VALUES",
        2,
        "ON CONFLICT (id) DO UPDATE SET catalog_partial = excluded.catalog_partial",
    )
});

static CHANNEL: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO channels (device, place, id, name, manufacturer, model, owner, civil_code, address, parent_id, \
         flags, longitude, latitude, ptz_type, business_group, node) VALUES",
        16,
        "",
    )
});

/// The same for a channel that may be there.
static CHANNEL_OVER: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO channels (device, place, id, name, manufacturer, model, owner, civil_code, address, parent_id, \
         flags, longitude, latitude, ptz_type, business_group, node) VALUES",
        16,
        "ON CONFLICT (device, place) DO UPDATE SET id = excluded.id, name = excluded.name, \
         manufacturer = excluded.manufacturer, model = excluded.model, owner = excluded.owner, \
         civil_code = excluded.civil_code, address = excluded.address, parent_id = excluded.parent_id, \
         flags = excluded.flags, longitude = excluded.longitude, latitude = excluded.latitude, \
         ptz_type = excluded.ptz_type, business_group = excluded.business_group, node = excluded.node",
    )
});

static NODE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO directory (device, id, parent, name, civil_code, place) VALUES",
        6,
        "",
    )
});

const FLAG_PARENTAL: i64 = 1;
const FLAG_SECRECY: i64 = 2;
const FLAG_ONLINE: i64 = 4;
/// Two bits of `flags` that hold a [`Condition`].
pub const CONDITION_BITS: i64 = 24;
const CONDITION_SHIFT: u32 = 3;
/// The rows of `channels` that a caller is to see.
pub const NOT_DELETED: &str = "(flags & 24) <> 24";

/// As it lies in [`CONDITION_BITS`].
fn condition_flags(condition: Condition) -> i64 {
    let number: i64 = match condition {
        Condition::Described => 0,
        Condition::VideoLost => 1,
        Condition::Defect => 2,
        Condition::Deleted => 3,
    };
    number << CONDITION_SHIFT
}

/// The condition in the flags of a row.
pub fn condition_in(flags: i64) -> Condition {
    match (flags & CONDITION_BITS) >> CONDITION_SHIFT {
        1 => Condition::VideoLost,
        2 => Condition::Defect,
        3 => Condition::Deleted,
        _ => Condition::Described,
    }
}

const AUTH_DEFAULT: i64 = 0;
const AUTH_PASSWORD: i64 = 1;
const AUTH_NOT_NEEDED: i64 = 2;
const AUTH_CERTIFICATE: i64 = 3;

/// Writes the changes of a batch in the caller's transaction.
pub async fn write(
    transaction: &mut AnyTransaction<'_>,
    sealer: &Sealer,
    batch: &[(DeviceId, Change)],
) -> sqlx::Result<()> {
    let registrations: Vec<&StoredDevice> = batch
        .iter()
        .filter_map(|(_, change)| change.registration.as_ref())
        .collect();
    REGISTER
        .run(transaction, &registrations, |query, device| {
            bind_registration(query, device, sealer)
        })
        .await?;

    let seen: Vec<(DeviceId, i64)> = batch
        .iter()
        .filter_map(|(device, change)| Some((*device, change.seen_unix_s?)))
        .collect();
    SEEN.run(transaction, &seen, |query, (device, unix_s)| {
        query.bind(device.to_string()).bind(*unix_s)
    })
    .await?;

    let offline: Vec<DeviceId> = batch
        .iter()
        .filter(|(_, change)| change.offline)
        .map(|(device, _)| *device)
        .collect();
    OFFLINE
        .run(transaction, &offline, |query, device| {
            query.bind(device.to_string())
        })
        .await?;

    let infos: Vec<(DeviceId, &DeviceInfo)> = batch
        .iter()
        .filter_map(|(device, change)| Some((*device, change.info.as_ref()?)))
        .collect();
    INFO.run(transaction, &infos, |query, (device, info)| {
        query
            .bind(device.to_string())
            .bind(clean(&info.name))
            .bind(clean(&info.manufacturer))
            .bind(clean(&info.model))
            .bind(clean(&info.firmware))
            .bind(info.channels.map_or(-1, i64::from))
    })
    .await?;

    let transports: Vec<(DeviceId, MediaTransport)> = batch
        .iter()
        .filter_map(|(device, change)| Some((*device, change.transport?)))
        .collect();
    TRANSPORT
        .run(transaction, &transports, |query, (device, transport)| {
            query
                .bind(device.to_string())
                .bind(transport_number(*transport))
        })
        .await?;

    for (device, change) in batch {
        write_tree(transaction, *device, change).await?;
        if let Some(key) = change.key {
            write_key(transaction, sealer, *device, key).await?;
        }
    }
    Ok(())
}

/// Channels and the nodes that they hang on.
async fn write_tree(
    transaction: &mut AnyTransaction<'_>,
    device: DeviceId,
    change: &Change,
) -> sqlx::Result<()> {
    let Change {
        channels,
        directory,
        single,
        nodes,
        ..
    } = change;
    if channels.is_none() && directory.is_none() && single.is_empty() && nodes.is_empty() {
        return Ok(());
    }
    let mut known = match directory {
        Some(nodes) => {
            let known = tree::known_of(nodes);
            write_directory(transaction, device, nodes, &known).await?;
            known
        }
        None => tree::known(transaction, device).await?,
    };
    if let Some((channels, partial)) = channels {
        write_channels(transaction, device, channels, *partial, &known).await?;
    } else if directory.is_some() {
        tree::hang(transaction, device, &known, Moved::All).await?;
    }
    let single: Vec<(i64, &CatalogItem)> = single
        .iter()
        .map(|(place, item)| (i64::from(*place), item))
        .collect();
    CHANNEL_OVER
        .run(transaction, &single, |query, (place, item)| {
            bind_channel(query.bind(device.to_string()).bind(*place), item, &known)
        })
        .await?;
    for (id, node) in nodes {
        match node {
            Some(node) => write_node(transaction, device, node, &mut known).await?,
            None => remove_node(transaction, device, id, &mut known).await?,
        }
        tree::hang(transaction, device, &known, Moved::Node(id)).await?;
    }
    Ok(())
}

async fn write_key(
    transaction: &mut AnyTransaction<'_>,
    sealer: &Sealer,
    device: DeviceId,
    key: Option<SharedKey>,
) -> sqlx::Result<()> {
    let device = device.to_string();
    let query = match key {
        None => sqlx::query("DELETE FROM shared_keys WHERE device = $1").bind(device),
        Some(key) => {
            let sealed = sealer.seal(&device, &key.0);
            let sql = "INSERT INTO shared_keys (device, sealed) VALUES ($1, $2) \
                       ON CONFLICT (device) DO UPDATE SET sealed = excluded.sealed";
            sqlx::query(sql).bind(device).bind(sealed)
        }
    };
    query.execute(&mut **transaction).await.map(|_| ())
}

/// Keys that were agreed with devices, but for those that cannot be opened.
pub async fn shared_keys(
    pool: &AnyPool,
    sealer: &Sealer,
) -> sqlx::Result<Vec<(DeviceId, SharedKey)>> {
    let rows = sqlx::query("SELECT device, sealed FROM shared_keys")
        .fetch_all(pool)
        .await?;
    let mut keys = Vec::new();
    for row in &rows {
        let (device, sealed): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let plain = sealer.unseal(&device, &sealed);
        let key = plain.and_then(|plain| plain.try_into().ok());
        if let (Ok(device), Some(key)) = (device.parse(), key) {
            keys.push((DeviceId(device), SharedKey(key)));
        }
    }
    Ok(keys)
}

/// Adds or replaces one node. A new one stands behind all others; at [`limits::DIRECTORY_NODES_MAX`] it is left out.
async fn write_node(
    transaction: &mut AnyTransaction<'_>,
    device: DeviceId,
    node: &CatalogItem,
    known: &mut Known,
) -> sqlx::Result<()> {
    let (device, id) = (device.to_string(), clean(&node.id));
    let sql = "SELECT COUNT(*), CAST(COALESCE(MAX(place), -1) AS BIGINT) FROM directory WHERE device = $1";
    let all = sqlx::query(sql).bind(device.clone());
    let all = all.fetch_one(&mut **transaction).await?;
    let (count, last): (i64, i64) = (all.try_get(0)?, all.try_get(1)?);
    let sql = "SELECT place FROM directory WHERE device = $1 AND id = $2";
    let there = sqlx::query(sql).bind(device.clone()).bind(id.clone());
    let there = there.fetch_optional(&mut **transaction).await?;
    let place = match there {
        Some(row) => row.try_get(0)?,
        None if count >= limits::DIRECTORY_NODES_MAX => return Ok(()),
        None => last + 1,
    };
    let above = tree::above(known, &id, Says::of(node)).to_owned();
    known.insert(id.clone());
    let sql = "INSERT INTO directory (device, id, parent, name, civil_code, place) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (device, id) DO UPDATE SET parent = excluded.parent, name = excluded.name, \
               civil_code = excluded.civil_code";
    sqlx::query(sql)
        .bind(device)
        .bind(id)
        .bind(above)
        .bind(clean(&node.name))
        .bind(clean(&node.civil_code))
        .bind(place)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Removes one node; what hung on it stands at the top.
async fn remove_node(
    transaction: &mut AnyTransaction<'_>,
    device: DeviceId,
    id: &str,
    known: &mut Known,
) -> sqlx::Result<()> {
    known.remove(&clean(id));
    for sql in [
        "DELETE FROM directory WHERE device = $1 AND id = $2",
        "UPDATE directory SET parent = '' WHERE device = $1 AND parent = $2",
    ] {
        let query = sqlx::query(sql).bind(device.to_string()).bind(clean(id));
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

fn transport_number(transport: MediaTransport) -> i64 {
    match transport {
        MediaTransport::Udp => 1,
        MediaTransport::TcpPassive => 2,
        MediaTransport::TcpActive => 3,
    }
}

fn bind_registration<'q>(
    query: AnyQuery<'q>,
    device: &StoredDevice,
    sealer: &Sealer,
) -> AnyQuery<'q> {
    let id = device.device.to_string();
    let (auth, password) = match &device.auth {
        DeviceAuth::Default => (AUTH_DEFAULT, String::new()),
        DeviceAuth::Password(password) => (AUTH_PASSWORD, sealer.seal(&id, password.as_bytes())),
        DeviceAuth::NotNeeded => (AUTH_NOT_NEEDED, String::new()),
        DeviceAuth::Certificate { der, revoked } => {
            let plain = [&[u8::from(*revoked)], der.as_slice()].concat();
            (AUTH_CERTIFICATE, sealer.seal(&id, &plain))
        }
    };
    query
        .bind(id)
        .bind(auth)
        .bind(password)
        .bind(
            device
                .peer
                .map_or_else(String::new, |peer| peer.to_string()),
        )
        .bind(i64::from(device.over_tcp))
        .bind(i64::from(device.online))
        .bind(device.expires_unix_s)
        .bind(device.last_seen_unix_s)
        .bind(clean(device.gb_version.as_deref().unwrap_or_default()))
}

async fn write_channels(
    transaction: &mut AnyTransaction<'_>,
    device: DeviceId,
    channels: &[CatalogItem],
    partial: bool,
    known: &Known,
) -> sqlx::Result<()> {
    PARTIAL
        .run(
            transaction,
            &[(device, partial)],
            |query, (device, partial)| query.bind(device.to_string()).bind(i64::from(*partial)),
        )
        .await?;
    sqlx::query("DELETE FROM channels WHERE device = $1")
        .bind(device.to_string())
        .execute(&mut **transaction)
        .await?;
    let rows: Vec<(i64, &CatalogItem)> = (0..).zip(channels).collect();
    CHANNEL
        .run(transaction, &rows, |query, (place, item)| {
            bind_channel(query.bind(device.to_string()).bind(*place), item, known)
        })
        .await
}

async fn write_directory(
    transaction: &mut AnyTransaction<'_>,
    device: DeviceId,
    nodes: &[CatalogItem],
    known: &Known,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM directory WHERE device = $1")
        .bind(device.to_string())
        .execute(&mut **transaction)
        .await?;
    let mut seen = HashSet::new();
    let rows: Vec<(i64, &CatalogItem)> = (0..)
        .zip(nodes)
        .filter(|(_, node)| seen.insert(node.id.as_str()))
        .collect();
    NODE.run(transaction, &rows, |query, (place, node)| {
        let id = clean(&node.id);
        let above = tree::above(known, &id, Says::of(node)).to_owned();
        query
            .bind(device.to_string())
            .bind(id)
            .bind(above)
            .bind(clean(&node.name))
            .bind(clean(&node.civil_code))
            .bind(*place)
    })
    .await
}

fn bind_channel<'q>(query: AnyQuery<'q>, item: &CatalogItem, known: &Known) -> AnyQuery<'q> {
    let flag = |set: bool, bit: i64| if set { bit } else { 0 };
    let degrees = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
    query
        .bind(clean(&item.id))
        .bind(clean(&item.name))
        .bind(clean(&item.manufacturer))
        .bind(clean(&item.model))
        .bind(clean(&item.owner))
        .bind(clean(&item.civil_code))
        .bind(clean(&item.address))
        .bind(clean(&item.parent_id))
        .bind(
            flag(item.parental, FLAG_PARENTAL)
                | flag(item.secrecy, FLAG_SECRECY)
                | flag(item.online, FLAG_ONLINE)
                | condition_flags(item.condition),
        )
        .bind(degrees(item.longitude))
        .bind(degrees(item.latitude))
        .bind(i64::from(item.ptz_type))
        .bind(clean(&item.business_group_id))
        .bind(tree::above(known, &item.id, Says::of(item)).to_owned())
}

/// PostgreSQL takes no NUL in a text, and a device may send one.
pub(super) fn clean(text: &str) -> String {
    if text.contains('\0') {
        text.replace('\0', "")
    } else {
        text.to_owned()
    }
}

/// Rows that cannot be read as a device are left out and logged: one bad row must not keep the node from starting.
pub async fn load(pool: &AnyPool, sealer: &Sealer) -> sqlx::Result<Vec<RestoredDevice>> {
    let rows = sqlx::query(
        "SELECT id, auth, password, peer, over_tcp, online, expires_s, last_seen_s, gb_version, \
         name, manufacturer, model, firmware, channel_count, catalog_partial, media_transport FROM devices ORDER BY id",
    )
    .fetch_all(pool)
    .await?;
    let mut devices = Vec::with_capacity(rows.len());
    let mut places = HashMap::with_capacity(rows.len());
    for row in &rows {
        let id: String = row.try_get(0)?;
        let Ok(code) = id.parse::<GbId>() else {
            tracing::warn!(device = id, "the store holds a device with a bad code");
            continue;
        };
        places.insert(id, devices.len());
        devices.push(read_device(row, DeviceId(code), sealer)?);
    }
    drop(rows);
    let rows = sqlx::query(
        "SELECT device, id, name, manufacturer, model, owner, civil_code, address, parent_id, flags, longitude, \
         latitude, ptz_type, business_group FROM channels ORDER BY device, place",
    )
    .fetch_all(pool)
    .await?;
    for row in &rows {
        let device: &str = row.try_get(0)?;
        if let Some(place) = places.get(device) {
            devices[*place].channels.push(read_channel(row)?);
        }
    }
    drop(rows);
    let rows = sqlx::query("SELECT device, policy FROM device_policies")
        .fetch_all(pool)
        .await?;
    for row in &rows {
        let device: &str = row.try_get(0)?;
        if let Some(place) = places.get(device) {
            devices[*place].policy = DevicePolicy::from_text(row.try_get(1)?);
        }
    }
    Ok(devices)
}

/// Removes a device and what hangs on it; what happened stays.
pub async fn remove(pool: &AnyPool, device: DeviceId) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    let id = device.to_string();
    for sql in [
        "DELETE FROM devices WHERE id = $1",
        "DELETE FROM channels WHERE device = $1",
        "DELETE FROM directory WHERE device = $1",
        "DELETE FROM device_policies WHERE device = $1",
        "DELETE FROM device_facts WHERE device = $1",
        "DELETE FROM channel_facts WHERE device = $1",
        "DELETE FROM own_settings WHERE device = $1",
        "DELETE FROM config_plan_devices WHERE device = 'PU_' || $1",
        "DELETE FROM channel_subscriptions WHERE device = $1",
        "DELETE FROM shared_keys WHERE device = $1",
        "DELETE FROM upgrades WHERE device = $1",
    ] {
        sqlx::query(sql)
            .bind(id.clone())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

/// Replaces what is forced for a device.
pub async fn save_policy(
    pool: &AnyPool,
    device: DeviceId,
    policy: DevicePolicy,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO device_policies (device, policy) VALUES ($1, $2) \
         ON CONFLICT (device) DO UPDATE SET policy = excluded.policy",
    )
    .bind(device.to_string())
    .bind(policy.to_text())
    .execute(pool)
    .await?;
    Ok(())
}

fn read_device(row: &AnyRow, device: DeviceId, sealer: &Sealer) -> sqlx::Result<RestoredDevice> {
    let text = |index: usize| row.try_get::<String, _>(index);
    let number = |index: usize| row.try_get::<i64, _>(index);
    let auth = match number(1)? {
        AUTH_PASSWORD => {
            let plain = sealer
                .unseal(&device.to_string(), &text(2)?)
                .and_then(|bytes| String::from_utf8(bytes).ok());
            match plain {
                Some(password) => DeviceAuth::Password(password),
                None => {
                    tracing::warn!(%device, "its password was sealed with another key; the default one counts");
                    DeviceAuth::Default
                }
            }
        }
        AUTH_NOT_NEEDED => DeviceAuth::NotNeeded,
        AUTH_CERTIFICATE => {
            let plain = sealer.unseal(&device.to_string(), &text(2)?);
            // One that cannot be opened lets nobody in, rather than anybody with a password.
            let (revoked, der) = match plain.as_deref().and_then(<[u8]>::split_first) {
                Some((revoked, der)) => (*revoked != 0, der.to_vec()),
                None => {
                    tracing::warn!(%device, "its certificate was sealed with another key; it cannot come in");
                    (false, Vec::new())
                }
            };
            DeviceAuth::Certificate { der, revoked }
        }
        _ => DeviceAuth::Default,
    };
    Ok(RestoredDevice {
        stored: StoredDevice {
            device,
            auth,
            peer: text(3)?.parse().ok(),
            over_tcp: number(4)? != 0,
            online: number(5)? != 0,
            expires_unix_s: number(6)?,
            last_seen_unix_s: number(7)?,
            gb_version: Some(text(8)?).filter(|version| !version.is_empty()),
        },
        info: DeviceInfo {
            name: text(9)?,
            manufacturer: text(10)?,
            model: text(11)?,
            firmware: text(12)?,
            channels: u32::try_from(number(13)?).ok(),
        },
        transport: [
            MediaTransport::Udp,
            MediaTransport::TcpPassive,
            MediaTransport::TcpActive,
        ]
        .into_iter()
        .find(|transport| number(15).is_ok_and(|n| n == transport_number(*transport))),
        channels: Vec::new(),
        partial: number(14)? != 0,
        policy: DevicePolicy::default(),
    })
}

fn read_channel(row: &AnyRow) -> sqlx::Result<CatalogItem> {
    let text = |index: usize| row.try_get::<String, _>(index);
    let flags: i64 = row.try_get(9)?;
    let ptz_type: i64 = row.try_get(12)?;
    Ok(CatalogItem {
        id: text(1)?,
        name: text(2)?,
        manufacturer: text(3)?,
        model: text(4)?,
        owner: text(5)?,
        civil_code: text(6)?,
        address: text(7)?,
        parent_id: text(8)?,
        business_group_id: text(13)?,
        parental: flags & FLAG_PARENTAL != 0,
        secrecy: flags & FLAG_SECRECY != 0,
        online: flags & FLAG_ONLINE != 0,
        longitude: text(10)?.parse().ok(),
        latitude: text(11)?.parse().ok(),
        ptz_type: u8::try_from(ptz_type).unwrap_or(0),
        condition: condition_in(flags),
    })
}
