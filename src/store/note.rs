//! What users write beside a file of this node: name and descriptions, and marks on its time line (bvcsp 2.11, 2.17).
//!
//! Bounds: the caller's, [`crate::limits::RECORD_MARKS_MAX`] marks a file.

use sqlx::Row;

use super::{Error, Store};

/// Name and descriptions of a file; empty where nobody wrote any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    pub name: String,
    pub desc1: String,
    pub desc2: String,
}

/// A mark on the time line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub id: u64,
    pub file: String,
    pub owner: String,
    /// As the client wrote it.
    pub place: String,
    pub data: String,
    pub added_s: i64,
}

impl Store {
    /// The note of a file; an empty one if there is none.
    pub async fn note(&self, file: &str) -> Result<Note, Error> {
        let doing = "reading the note of a file";
        let row = sqlx::query("SELECT name, desc1, desc2 FROM record_notes WHERE file = $1")
            .bind(file.to_owned())
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(Error::at(doing))?;
        let Some(row) = row else {
            return Ok(Note::default());
        };
        let text = |at: usize| row.try_get::<String, _>(at).map_err(Error::at(doing));
        Ok(Note {
            name: text(0)?,
            desc1: text(1)?,
            desc2: text(2)?,
        })
    }

    /// Replaces the note of a file.
    pub async fn put_note(&self, file: &str, note: &Note) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO record_notes (file, name, desc1, desc2) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (file) DO UPDATE SET name = excluded.name, desc1 = excluded.desc1, desc2 = excluded.desc2",
        )
        .bind(file.to_owned())
        .bind(note.name.clone())
        .bind(note.desc1.clone())
        .bind(note.desc2.clone())
        .execute(&self.inner.pool)
        .await
        .map_err(Error::at("writing the note of a file"))?;
        Ok(())
    }

    /// Adds marks to a file, with ids from 1 on.
    pub async fn add_marks(&self, marks: &[Mark]) -> Result<(), Error> {
        let doing = "writing marks";
        for mark in marks {
            sqlx::query(
                "INSERT INTO record_marks (id, file, owner, place, data, added_s) \
                 SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5 FROM record_marks",
            )
            .bind(mark.file.clone())
            .bind(mark.owner.clone())
            .bind(mark.place.clone())
            .bind(mark.data.clone())
            .bind(mark.added_s)
            .execute(&self.inner.pool)
            .await
            .map_err(Error::at(doing))?;
        }
        Ok(())
    }

    /// Marks of a file, oldest first.
    pub async fn marks(&self, file: &str) -> Result<Vec<Mark>, Error> {
        let doing = "reading marks";
        let rows = sqlx::query(
            "SELECT id, file, owner, place, data, added_s FROM record_marks WHERE file = $1 ORDER BY id",
        )
        .bind(file.to_owned())
        .fetch_all(&self.inner.pool)
        .await
        .map_err(Error::at(doing))?;
        let read = |row: &sqlx::any::AnyRow| -> sqlx::Result<Mark> {
            Ok(Mark {
                id: row.try_get::<i64, _>(0)?.unsigned_abs(),
                file: row.try_get(1)?,
                owner: row.try_get(2)?,
                place: row.try_get(3)?,
                data: row.try_get(4)?,
                added_s: row.try_get(5)?,
            })
        };
        rows.iter()
            .map(read)
            .collect::<sqlx::Result<_>>()
            .map_err(Error::at(doing))
    }

    /// Removes a mark of a file, if it is there.
    pub async fn remove_mark(&self, file: &str, id: u64) -> Result<(), Error> {
        sqlx::query("DELETE FROM record_marks WHERE file = $1 AND id = $2")
            .bind(file.to_owned())
            .bind(id as i64)
            .execute(&self.inner.pool)
            .await
            .map_err(Error::at("removing a mark"))?;
        Ok(())
    }

    /// Forgets all that was written beside a file.
    pub async fn forget_notes(&self, file: &str) -> Result<(), Error> {
        let doing = "removing the notes of a file";
        for query in [
            "DELETE FROM record_marks WHERE file = $1",
            "DELETE FROM record_notes WHERE file = $1",
        ] {
            sqlx::query(query)
                .bind(file.to_owned())
                .execute(&self.inner.pool)
                .await
                .map_err(Error::at(doing))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::folder;

    #[tokio::test]
    async fn notes_and_marks_belong_to_their_file() {
        let folder = folder();
        let store = Store::open(folder.path(), "").await.expect("opens");
        let mark = |file: &str, place: &str| Mark {
            id: 0,
            file: file.into(),
            owner: "admin".into(),
            place: place.into(),
            data: "{}".into(),
            added_s: 7,
        };
        let marks = [mark("T1", "1.5"), mark("T1", "2"), mark("T2", "3")];
        store.add_marks(&marks).await.expect("written");
        let note = Note {
            name: "gate".into(),
            ..Note::default()
        };
        store.put_note("T1", &note).await.expect("written");
        assert_eq!(store.note("T1").await.expect("read"), note);
        assert_eq!(store.note("T2").await.expect("read"), Note::default());
        let found = store.marks("T1").await.expect("read");
        let places: Vec<&str> = found.iter().map(|m| m.place.as_str()).collect();
        assert_eq!(places, ["1.5", "2"]);
        store
            .remove_mark("T2", found[0].id)
            .await
            .expect("another file's");
        assert_eq!(store.marks("T1").await.expect("read").len(), 2);
        store.remove_mark("T1", found[0].id).await.expect("removed");
        assert_eq!(store.marks("T1").await.expect("read").len(), 1);
        store.forget_notes("T1").await.expect("removed");
        assert_eq!(store.marks("T1").await.expect("read"), []);
        assert_eq!(store.note("T1").await.expect("read"), Note::default());
        assert_eq!(store.marks("T2").await.expect("read").len(), 1);
    }
}
