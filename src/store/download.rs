//! Download tasks as rows. They change at most every few seconds, so they are written at once.

use sqlx::Row;

use super::{Error, Store};

/// A download as the store keeps it. `state` is a word of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadRow {
    pub id: u64,
    pub owner: String,
    /// Code of the device.
    pub device: String,
    pub channel: u32,
    /// Unix seconds.
    pub begin_s: u32,
    pub end_s: u32,
    pub speed: u8,
    pub state: String,
    /// How much of the record is here.
    pub position_ms: u64,
    pub bytes: u64,
    pub reason: String,
    pub created_s: i64,
}

impl Store {
    /// Every download, oldest first. Rows that cannot be read are left out.
    pub async fn downloads(&self) -> Result<Vec<DownloadRow>, Error> {
        let doing = "reading the downloads";
        let rows = sqlx::query(
            "SELECT id, owner, device, channel, begin_s, end_s, speed, state, position_ms, bytes, reason, created_s \
             FROM downloads ORDER BY id",
        )
        .fetch_all(&self.inner.pool)
        .await
        .map_err(Error::at(doing))?;
        let mut all = Vec::new();
        for row in rows {
            all.extend(read(&row).map_err(Error::at(doing))?);
        }
        Ok(all)
    }

    /// Adds a download, or replaces what is known of it.
    pub async fn put_download(&self, row: &DownloadRow) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO downloads (id, owner, device, channel, begin_s, end_s, speed, state, position_ms, bytes, reason, \
             created_s) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (id) DO UPDATE SET state = excluded.state, position_ms = excluded.position_ms, \
             bytes = excluded.bytes, reason = excluded.reason",
        )
        .bind(row.id as i64)
        .bind(row.owner.clone())
        .bind(row.device.clone())
        .bind(i64::from(row.channel))
        .bind(i64::from(row.begin_s))
        .bind(i64::from(row.end_s))
        .bind(i64::from(row.speed))
        .bind(row.state.clone())
        .bind(row.position_ms as i64)
        .bind(row.bytes as i64)
        .bind(row.reason.clone())
        .bind(row.created_s)
        .execute(&self.inner.pool)
        .await
        .map_err(Error::at("writing a download"))?;
        Ok(())
    }

    /// Removes a download, if it is there.
    pub async fn remove_download(&self, id: u64) -> Result<(), Error> {
        sqlx::query("DELETE FROM downloads WHERE id = $1")
            .bind(id as i64)
            .execute(&self.inner.pool)
            .await
            .map_err(Error::at("removing a download"))?;
        Ok(())
    }
}

fn read(row: &sqlx::any::AnyRow) -> sqlx::Result<Option<DownloadRow>> {
    let number = |at: usize| row.try_get::<i64, _>(at);
    let (Ok(id), Ok(channel), Ok(begin_s), Ok(end_s), Ok(speed)) = (
        u64::try_from(number(0)?),
        u32::try_from(number(3)?),
        u32::try_from(number(4)?),
        u32::try_from(number(5)?),
        u8::try_from(number(6)?),
    ) else {
        return Ok(None);
    };
    Ok(Some(DownloadRow {
        id,
        owner: row.try_get(1)?,
        device: row.try_get(2)?,
        channel,
        begin_s,
        end_s,
        speed,
        state: row.try_get(7)?,
        position_ms: u64::try_from(number(8)?).unwrap_or(0),
        bytes: u64::try_from(number(9)?).unwrap_or(0),
        reason: row.try_get(10)?,
        created_s: number(11)?,
    }))
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
            begin_s: u32::MAX - 1,
            end_s: u32::MAX,
            speed: 4,
            state: "running".into(),
            position_ms: 12_345,
            bytes: 1 << 40,
            reason: String::new(),
            created_s: 5,
        };
        store.put_download(&row).await.expect("written");
        row.state = "done".into();
        row.position_ms = 60_000;
        store.put_download(&row).await.expect("written again");
        drop(store);
        let store = Store::open(folder.path(), "").await.expect("opens again");
        assert_eq!(store.downloads().await.expect("read"), [row]);
        store.remove_download(7).await.expect("removed");
        assert_eq!(store.downloads().await.expect("read"), []);
    }
}
