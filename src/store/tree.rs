//! Where the items of a device's directory hang (GB/T 28181-2016, annexes J and O).
//!
//! An item names the node above it in four ways: `ParentID` with a code, `ParentID` with a path of codes, of which the last
//! is the nearest, `BusinessGroupID`, and `CivilCode`. Devices fill one or all of them, also with codes that are no nodes of
//! the directory. An item hangs on the nearest that is known; on none, it stands at the top.
//!
//! Bounds: [`limits::DIRECTORY_NODES_MAX`] nodes.

use std::collections::HashSet;

use sqlx::Row;

use crate::gb28181::CatalogItem;
use crate::id::DeviceId;
use crate::limits;

use super::bulk::{AnyTransaction, Bulk};
use super::device::clean;

/// Digits of a civil code: province, city, district, community (GB/T 2260). Nothing longer is one.
const CIVIL_DIGITS: [usize; 4] = [8, 6, 4, 2];

/// Codes of the nodes of a device.
pub type Known = HashSet<String>;

/// What an item says of where it hangs.
#[derive(Clone, Copy, Debug)]
pub struct Says<'i> {
    pub parent: &'i str,
    pub business_group: &'i str,
    pub civil_code: &'i str,
}

impl<'i> Says<'i> {
    pub fn of(item: &'i CatalogItem) -> Says<'i> {
        Says {
            parent: &item.parent_id,
            business_group: &item.business_group_id,
            civil_code: &item.civil_code,
        }
    }
}

/// The node that an item hangs on; `""`: it stands at the top. `id` is its own code, on which it does not hang.
pub fn above<'k>(known: &'k Known, id: &str, says: Says<'_>) -> &'k str {
    let civil = |code: &str| CIVIL_DIGITS.map(|digits| code.get(..digits).unwrap_or("").to_owned());
    // A district hangs on its city without saying so.
    let of_its_own = if id.len() <= CIVIL_DIGITS[0] {
        civil(id)
    } else {
        Default::default()
    };
    let of_code = civil(says.civil_code);
    let named = says.parent.rsplit('/').map(str::trim);
    named
        .chain([says.business_group])
        .chain(of_its_own.iter().map(String::as_str))
        .chain([says.civil_code])
        .chain(of_code.iter().map(String::as_str))
        .filter(|code| *code != id)
        .find_map(|code| known.get(code))
        .map_or("", String::as_str)
}

/// The nodes of a device.
pub async fn known(transaction: &mut AnyTransaction<'_>, device: DeviceId) -> sqlx::Result<Known> {
    let rows = sqlx::query("SELECT id FROM directory WHERE device = $1")
        .bind(device.to_string())
        .fetch_all(&mut **transaction)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Which channels may have to move.
#[derive(Clone, Copy, Debug)]
pub enum Moved<'n> {
    /// The directory is another.
    All,
    /// This node came, went or moved.
    Node(&'n str),
}

/// Hangs the channels of a device on the nodes that are there now.
pub async fn hang(
    transaction: &mut AnyTransaction<'_>,
    device: DeviceId,
    known: &Known,
    moved: Moved<'_>,
) -> sqlx::Result<()> {
    const CHANNELS: &str = "SELECT place, id, parent_id, business_group, civil_code, node FROM channels WHERE device = $1";
    let device = device.to_string();
    let rows = match moved {
        Moved::All => sqlx::query(CHANNELS).bind(device.clone()),
        // A directory may have 100,000 channels: the database picks those that have to do with the node.
        Moved::Node(id) => {
            let sql = format!(
                "{CHANNELS} AND (node = $2 OR business_group = $2 OR parent_id LIKE $3 OR civil_code LIKE $4)"
            );
            let id = clean(id);
            let civil = if id.len() <= CIVIL_DIGITS[0] {
                &id
            } else {
                "-"
            };
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(device.clone())
                .bind(id.clone())
                .bind(format!("%{id}%"))
                .bind(format!("{civil}%"))
        }
    };
    let rows = rows.fetch_all(&mut **transaction).await?;
    let mut changed: Vec<(i64, &str)> = Vec::new();
    for row in &rows {
        let text = |column: usize| row.try_get::<&str, _>(column);
        let says = Says {
            parent: text(2)?,
            business_group: text(3)?,
            civil_code: text(4)?,
        };
        let node = above(known, text(1)?, says);
        if node != text(5)? {
            changed.push((row.try_get(0)?, node));
        }
    }
    let sql = "WITH moved (device, place, node) AS (VALUES";
    let after = ") UPDATE channels SET node = moved.node FROM moved \
                 WHERE channels.device = moved.device AND channels.place = moved.place";
    Bulk::new(sql, 3, after)
        .run(transaction, &changed, |query, (place, node)| {
            query
                .bind(device.clone())
                .bind(*place)
                .bind((*node).to_owned())
        })
        .await
}

/// The nodes of a directory that is about to be written.
pub fn known_of(nodes: &[CatalogItem]) -> Known {
    let most = usize::try_from(limits::DIRECTORY_NODES_MAX).unwrap_or(usize::MAX);
    nodes
        .iter()
        .take(most)
        .map(|node| clean(&node.id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_hangs_on_the_nearest_node_that_is_known() {
        const GROUP: &str = "34020000002150000001";
        const ORGANISATION: &str = "34020000002160000001";
        let codes = ["34", "3402", "340203", GROUP, ORGANISATION];
        let known: Known = codes.map(str::to_owned).into();
        let at = |parent: &str, business_group: &str, civil_code: &str| {
            let says = Says {
                parent,
                business_group,
                civil_code,
            };
            above(&known, "34020000001320000001", says).to_owned()
        };
        let system = "34020000002000000001";
        assert_eq!(at(ORGANISATION, "", ""), ORGANISATION);
        assert_eq!(
            at(&format!("{system}/{ORGANISATION}"), "", ""),
            ORGANISATION
        );
        // The nearest is not there, the one above it is.
        assert_eq!(at(&format!("{GROUP}/x"), "", ""), GROUP);
        assert_eq!(at(system, GROUP, "340203"), GROUP);
        assert_eq!(at(system, "", "340203"), "340203");
        assert_eq!(at("", "", "34020305"), "340203");
        assert_eq!(at("", "", "34029999"), "3402");
        assert_eq!(at("", "", "11010101"), "");
        assert_eq!(at("", "", ""), "");
        // Not on a byte that is half of a letter.
        assert_eq!(at("", "", "3城城"), "");
    }

    #[test]
    fn nodes_hang_on_each_other_and_not_on_themselves() {
        let known: Known = ["34", "3402", "340203"].map(str::to_owned).into();
        let says = |parent, civil_code| Says {
            parent,
            business_group: "",
            civil_code,
        };
        assert_eq!(above(&known, "340203", says("", "")), "3402");
        assert_eq!(above(&known, "340203", says("34", "340203")), "34");
        assert_eq!(above(&known, "3402", says("3402", "3402")), "34");
        assert_eq!(above(&known, "34", says("34", "34")), "");
    }

    /// Where channels stand follows nodes that come and go, and a directory that is read anew.
    #[tokio::test]
    async fn channels_move_with_the_nodes() {
        use crate::gb28181::{DeviceAuth, Persist, StoredDevice};
        use crate::store::Store;
        use crate::store::rows::ChannelRow;
        use crate::store::table::Filter;

        const GROUP: &str = "34020000002150000001";
        const ORGANISATION: &str = "34020000002160000001";
        let folder = crate::store::tests::folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let device = DeviceId("34020000002000000001".parse().expect("20 digits"));
        store.persist(Persist::Device(StoredDevice {
            device,
            auth: DeviceAuth::Default,
            peer: None,
            over_tcp: false,
            online: true,
            expires_unix_s: 0,
            last_seen_unix_s: 0,
            gb_version: None,
        }));
        let node = |id: &str, parent: &str| CatalogItem {
            id: id.into(),
            parent_id: parent.into(),
            ..CatalogItem::default()
        };
        let channel = |n: u32, parent: &str, business_group: &str, civil: &str| CatalogItem {
            id: format!("3402000000132{n:07}"),
            parent_id: parent.into(),
            business_group_id: business_group.into(),
            civil_code: civil.into(),
            ..CatalogItem::default()
        };
        let path = format!("{device}/{ORGANISATION}");
        let channels = vec![
            channel(1, ORGANISATION, GROUP, ""),
            channel(2, &path, "", "3402"),
            channel(3, "", "", "340203"),
        ];
        let nodes = vec![
            node("3402", ""),
            node(GROUP, "3402"),
            node(ORGANISATION, GROUP),
        ];
        store.save_channels(device, channels, false);
        store.save_directory(device, nodes.clone());
        let at = async || {
            store.flush().await.expect("written");
            let rows: Vec<ChannelRow> = store.every(Filter::all(), 9).await.expect("read");
            rows.into_iter().map(|row| row.node).collect::<Vec<_>>()
        };
        assert_eq!(at().await, [ORGANISATION, ORGANISATION, "3402"]);
        store.save_node(device, ORGANISATION.into(), None);
        assert_eq!(at().await, [GROUP, "3402", "3402"]);
        store.save_node(device, "340203".into(), Some(node("340203", "")));
        assert_eq!(at().await, [GROUP, "3402", "340203"]);
        store.save_node(device, ORGANISATION.into(), Some(node(ORGANISATION, GROUP)));
        assert_eq!(at().await, [ORGANISATION, ORGANISATION, "340203"]);
        store.save_directory(device, nodes[..1].to_vec());
        assert_eq!(at().await, ["", "3402", "3402"]);
        store.save_channel(device, 0, channel(1, "", "", "34020399"));
        assert_eq!(at().await, ["3402", "3402", "3402"]);
    }
}
