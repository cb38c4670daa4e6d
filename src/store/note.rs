//! What users write beside a file of this node: name and descriptions, and marks on its time line (bvcsp 2.11, 2.17).
//!
//! Bounds: the caller's, [`crate::limits::RECORD_MARKS_MAX`] marks a file.

use super::table::{Filter, Table, bound, table};
use super::{Error, Store};

table! {
    /// Name and descriptions of a file; empty where nobody wrote any.
    pub struct Note in "record_notes" by ["file"] {
        pub file: String,
        pub name: String,
        pub desc1: String,
        pub desc2: String,
    }
}

table! {
    /// A mark on the time line of a file.
    pub struct Mark in "record_marks" by ["id"] {
        pub id: i64,
        pub file: String,
        pub owner: String,
        /// As the client wrote it.
        pub place: String,
        pub data: String,
        /// Unix seconds.
        pub added_s: i64,
    }
}

impl Store {
    /// The note of a file; an empty one if there is none.
    pub async fn note(&self, file: &str) -> Result<Note, Error> {
        let found = self.find(Filter::all().equal("file", file)).await?;
        Ok(found.unwrap_or_else(|| Note {
            file: file.to_owned(),
            ..Note::default()
        }))
    }

    /// Adds marks to a file, with ids from 1 on.
    pub async fn add_marks(&self, marks: &[Mark]) -> Result<(), Error> {
        let doing = "writing marks";
        let sql = "INSERT INTO record_marks (id, file, owner, place, data, added_s) \
                   SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5 FROM record_marks";
        for mark in marks {
            bound(sql, &mark.values()[1..])
                .execute(&self.inner.pool)
                .await
                .map_err(Error::at(doing))?;
        }
        Ok(())
    }

    /// Forgets all that was written beside a file.
    pub async fn forget_notes(&self, file: &str) -> Result<(), Error> {
        let of_file = || Filter::all().equal("file", file);
        self.remove::<Mark>(of_file()).await?;
        self.remove::<Note>(of_file()).await?;
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
            file: "T1".into(),
            name: "gate".into(),
            ..Note::default()
        };
        store.put(&note).await.expect("written");
        assert_eq!(store.note("T1").await.expect("read"), note);
        let empty = |file: &str| Note {
            file: file.into(),
            ..Note::default()
        };
        assert_eq!(store.note("T2").await.expect("read"), empty("T2"));
        let of_file = |file: &str| Filter::all().equal("file", file);
        let found: Vec<Mark> = store.every(of_file("T1"), 10).await.expect("read");
        let places: Vec<&str> = found.iter().map(|m| m.place.as_str()).collect();
        assert_eq!(places, ["1.5", "2"]);
        let one = of_file("T2").equal("id", found[0].id);
        assert_eq!(store.remove::<Mark>(one).await.expect("another file's"), 0);
        let one = of_file("T1").equal("id", found[0].id);
        assert_eq!(store.remove::<Mark>(one).await.expect("removed"), 1);
        assert_eq!(store.count::<Mark>(of_file("T1")).await.expect("read"), 1);
        store.forget_notes("T1").await.expect("removed");
        assert_eq!(store.count::<Mark>(of_file("T1")).await.expect("read"), 0);
        assert_eq!(store.note("T1").await.expect("read"), empty("T1"));
        assert_eq!(store.count::<Mark>(of_file("T2")).await.expect("read"), 1);
    }
}
