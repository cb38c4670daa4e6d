//! One statement over many rows: a transaction costs more than a row, and a statement of its own for each costs more than
//! what it writes.
//!
//! SQLite looks for the name of each parameter that has one in a list of all, so a statement of 900 of them would be
//! prepared in the square of that time: there they have none. PostgreSQL knows only numbers.
//!
//! Bounds: [`CHUNKS`] rows a statement.

use std::fmt::Write as _;
use std::sync::Arc;

use super::table::{Table, Value, upsert_around};

pub type AnyTransaction<'c> = sqlx::Transaction<'c, sqlx::Any>;
pub type AnyQuery<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// Rows of one statement. Three sizes keep the number of prepared statements small.
const CHUNKS: [usize; 3] = [100, 10, 1];

/// A statement over several rows, for each size of [`CHUNKS`].
pub struct Bulk {
    sizes: [Wording; CHUNKS.len()],
}

/// The same statement for each database.
struct Wording {
    /// `(?, ?), (?, ?)`
    sqlite: Arc<str>,
    /// `($1, $2), ($3, $4)`
    postgres: Arc<str>,
}

impl Bulk {
    /// `columns` values a row: `before (?, ?), (?, ?) after`.
    pub fn new(before: &str, columns: usize, after: &str) -> Bulk {
        let places = |rows: usize, place: &dyn Fn(&mut String, usize)| {
            let mut sql = String::from(before);
            for row in 0..rows {
                sql.push_str(if row == 0 { " (" } else { ", (" });
                for column in 0..columns {
                    sql.push_str(if column == 0 { "" } else { ", " });
                    place(&mut sql, row * columns + column + 1);
                }
                sql.push(')');
            }
            sql.push(' ');
            sql.push_str(after);
            Arc::from(sql)
        };
        let wording = |rows| Wording {
            sqlite: places(rows, &|sql, _| sql.push('?')),
            postgres: places(rows, &|sql, number| {
                let _ = write!(sql, "${number}");
            }),
        };
        Bulk {
            sizes: CHUNKS.map(wording),
        }
    }

    /// `INSERT`; a row takes the place of the one with its key. PostgreSQL refuses two rows with one key in a statement.
    pub fn upsert<T: Table>() -> Bulk {
        let (before, after) = upsert_around::<T>();
        Bulk::new(&before, T::COLUMNS.len(), &after)
    }

    /// Runs it over all rows. `bind` gives the values of one row, in the order of the columns.
    pub async fn run<T>(
        &self,
        transaction: &mut AnyTransaction<'_>,
        mut rows: &[T],
        bind: impl for<'q> Fn(AnyQuery<'q>, &T) -> AnyQuery<'q>,
    ) -> sqlx::Result<()> {
        for (size, wording) in CHUNKS.into_iter().zip(&self.sizes) {
            while rows.len() >= size {
                let (chunk, rest) = rows.split_at(size);
                let sql = match transaction.backend_name() {
                    "SQLite" => &wording.sqlite,
                    _ => &wording.postgres,
                };
                // Only SQL of this program comes here: values are bound.
                let sql = sqlx::AssertSqlSafe(Arc::clone(sql));
                let query = chunk.iter().fold(sqlx::query(sql), &bind);
                query.execute(&mut **transaction).await?;
                rows = rest;
            }
        }
        Ok(())
    }

    /// The same for rows of a [`Table`].
    pub async fn rows<T: Table>(
        &self,
        transaction: &mut AnyTransaction<'_>,
        rows: &[&T],
    ) -> sqlx::Result<()> {
        self.run(transaction, rows, |query, row| {
            row.values().into_iter().fold(query, bind_value)
        })
        .await
    }
}

/// Adds a value to a query.
pub fn bind_value(query: AnyQuery<'_>, value: Value) -> AnyQuery<'_> {
    match value {
        Value::Text(text) => query.bind(text),
        Value::Number(number) => query.bind(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_has_its_own_places() {
        let bulk = Bulk::new("INSERT INTO a (b, c) VALUES", 2, "ON CONFLICT DO NOTHING");
        let words = |n: usize| (&*bulk.sizes[n].sqlite, &*bulk.sizes[n].postgres);
        assert_eq!(
            words(2),
            (
                "INSERT INTO a (b, c) VALUES (?, ?) ON CONFLICT DO NOTHING",
                "INSERT INTO a (b, c) VALUES ($1, $2) ON CONFLICT DO NOTHING"
            )
        );
        assert!(words(1).0.contains("VALUES (?, ?), (?, ?), "));
        assert!(words(1).1.contains(" ($19, $20) ON"));
        assert!(words(0).1.contains(" ($199, $200) ON"));
    }
}
