//! Rows as types: one declaration says which table a row lies in, by what it is known, and which columns it has. The
//! same declaration is the JSON of the API.
//!
//! Every column is TEXT or BIGINT and none is NULL, as the two databases agree on these: `-1` and `''` stand for "none",
//! and decimals are texts. A column has the name of its field.
//!
//! Filters, sorting and paging are done by the database; [`Filter`] holds values apart from the SQL, and column names come
//! from the program alone.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::bulk::{AnyQuery, bind_value};
use super::{Error, Store};

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(super::device::clean(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::from(text.as_str())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(number)
    }
}

/// What a field of a row is in the database.
pub trait Column: Sized {
    fn read(row: &AnyRow, at: usize) -> sqlx::Result<Self>;
    fn value(&self) -> Value;
}

impl Column for String {
    fn read(row: &AnyRow, at: usize) -> sqlx::Result<String> {
        row.try_get(at)
    }

    fn value(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Column for i64 {
    fn read(row: &AnyRow, at: usize) -> sqlx::Result<i64> {
        row.try_get(at)
    }

    fn value(&self) -> Value {
        Value::Number(*self)
    }
}

/// Never negative, so that `-1` can be "none".
impl Column for Option<i64> {
    fn read(row: &AnyRow, at: usize) -> sqlx::Result<Option<i64>> {
        let number: i64 = row.try_get(at)?;
        Ok((number >= 0).then_some(number))
    }

    fn value(&self) -> Value {
        Value::Number(self.unwrap_or(-1))
    }
}

impl Column for bool {
    fn read(row: &AnyRow, at: usize) -> sqlx::Result<bool> {
        Ok(i64::read(row, at)? != 0)
    }

    fn value(&self) -> Value {
        Value::Number(i64::from(*self))
    }
}

impl Column for Option<f64> {
    fn read(row: &AnyRow, at: usize) -> sqlx::Result<Option<f64>> {
        Ok(String::read(row, at)?.parse().ok())
    }

    fn value(&self) -> Value {
        Value::Text(self.map_or_else(String::new, |decimal| decimal.to_string()))
    }
}

/// A row of a table.
pub trait Table: Sized {
    const NAME: &'static str;
    /// The columns by which one row is known.
    const KEY: &'static [&'static str];
    const COLUMNS: &'static [&'static str];

    fn read(row: &AnyRow) -> sqlx::Result<Self>;
    /// In the order of [`Table::COLUMNS`].
    fn values(&self) -> Vec<Value>;
}

/// Declares a row. See the [module](self).
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub struct $name:ident in $table:literal by [$($key:literal),+] {
            $($(#[$field_meta:meta])* pub $field:ident : $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, utoipa::ToSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $crate::store::table::Table for $name {
            const NAME: &'static str = $table;
            const KEY: &'static [&'static str] = &[$($key),+];
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn read(row: &sqlx::any::AnyRow) -> sqlx::Result<$name> {
                let mut at = 0..;
                Ok($name {
                    $($field: $crate::store::table::Column::read(row, at.next().unwrap_or_default())?,)*
                })
            }

            fn values(&self) -> Vec<$crate::store::table::Value> {
                vec![$($crate::store::table::Column::value(&self.$field)),*]
            }
        }
    };
}
pub(crate) use table;

/// Which rows. Conditions are and-ed; none is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Filter {
    pub fn all() -> Filter {
        Filter::default()
    }

    fn with(mut self, condition: String, values: impl IntoIterator<Item = Value>) -> Filter {
        self.conditions.push(condition);
        self.values.extend(values);
        self
    }

    pub fn equal(self, column: &'static str, value: impl Into<Value>) -> Filter {
        self.with(format!("{column} = ?"), [value.into()])
    }

    /// No condition if there is no value.
    pub fn equal_if(self, column: &'static str, value: Option<impl Into<Value>>) -> Filter {
        match value {
            Some(value) => self.equal(column, value),
            None => self,
        }
    }

    pub fn less(self, column: &'static str, value: impl Into<Value>) -> Filter {
        self.with(format!("{column} < ?"), [value.into()])
    }

    /// From the first to the last of a range, both in it; either may be missing.
    pub fn within(self, column: &'static str, from: Option<i64>, to: Option<i64>) -> Filter {
        let filter = match from {
            Some(from) => self.with(format!("{column} >= ?"), [from.into()]),
            None => self,
        };
        match to {
            Some(to) => filter.with(format!("{column} <= ?"), [to.into()]),
            None => filter,
        }
    }

    /// One of these; of none, no row fits.
    pub fn one_of(self, column: &'static str, values: Vec<Value>) -> Filter {
        let places = vec!["?"; values.len()].join(", ");
        let condition = if values.is_empty() {
            "1 = 0".to_owned()
        } else {
            format!("{column} IN ({places})")
        };
        self.with(condition, values)
    }

    /// A part of one of these texts, whatever the case of its letters; no condition if it is empty.
    pub fn contains(self, columns: &[&'static str], word: &str) -> Filter {
        if word.trim().is_empty() {
            return self;
        }
        let each = columns
            .iter()
            .map(|column| format!("LOWER({column}) LIKE ? ESCAPE '\\'"));
        let condition = each.collect::<Vec<_>>().join(" OR ");
        let values = vec![Filter::pattern(word); columns.len()];
        self.with(format!("({condition})"), values)
    }

    /// What `LOWER(column) LIKE ? ESCAPE '\'` is held against to find a part of a text.
    pub fn pattern(word: &str) -> Value {
        let word = word.trim().to_lowercase();
        let mut pattern = String::from("%");
        for c in word.chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        Value::from(pattern)
    }

    /// A condition in SQL with `?` for each value.
    pub fn sql(
        self,
        condition: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Filter {
        self.with(condition.into(), values)
    }

    fn clause(&self) -> String {
        if self.conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.conditions.join(" AND "))
        }
    }
}

/// Which part of the rows, in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub skip: i64,
    pub take: i64,
    /// A column, or several with `, ` between.
    pub order: String,
}

impl Page {
    /// Everything, up to a bound, in the order of the key.
    pub fn first<T: Table>(take: i64) -> Page {
        Page {
            skip: 0,
            take,
            order: T::KEY.join(", "),
        }
    }
}

/// `$1`, `$2` … in place of each `?`, which both databases understand.
fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 16);
    let mut number = 0;
    for c in sql.chars() {
        if c == '?' {
            number += 1;
            out.push_str(&format!("${number}"));
        } else {
            out.push(c);
        }
    }
    out
}

pub(super) fn bound<'q>(sql: &'q str, values: &[Value]) -> AnyQuery<'q> {
    // Only SQL of this program comes here: values are bound.
    let query = sqlx::query(sqlx::AssertSqlSafe(sql));
    values.iter().cloned().fold(query, bind_value)
}

/// What stands before and after the rows of an `INSERT`, each of which takes the place of one with the same key.
pub(super) fn upsert_around<T: Table>() -> (String, String) {
    let changed: Vec<String> = T::COLUMNS
        .iter()
        .filter(|column| !T::KEY.contains(column))
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    let conflict = match changed.is_empty() {
        true => "NOTHING".to_owned(),
        false => format!("UPDATE SET {}", changed.join(", ")),
    };
    (
        format!("INSERT INTO {} ({}) VALUES", T::NAME, T::COLUMNS.join(", ")),
        format!("ON CONFLICT ({}) DO {conflict}", T::KEY.join(", ")),
    )
}

/// `INSERT` of one row.
pub(super) fn upsert<T: Table>() -> String {
    let (before, after) = upsert_around::<T>();
    let places = vec!["?"; T::COLUMNS.len()].join(", ");
    numbered(&format!("{before} ({places}) {after}"))
}

impl Store {
    /// Adds a row, or takes the place of the one with its key.
    pub async fn put<T: Table>(&self, row: &T) -> Result<(), Error> {
        bound(&upsert::<T>(), &row.values())
            .execute(&self.inner.pool)
            .await
            .map_err(Error::at("writing a row"))?;
        Ok(())
    }

    /// The first row that fits.
    pub async fn find<T: Table>(&self, filter: Filter) -> Result<Option<T>, Error> {
        let rows = self.page(filter, &Page::first::<T>(1)).await?;
        Ok(rows.into_iter().next())
    }

    /// A page of the rows that fit, and how many fit in all.
    pub async fn list<T: Table>(
        &self,
        filter: Filter,
        page: &Page,
    ) -> Result<(Vec<T>, u64), Error> {
        let total = self.count::<T>(filter.clone()).await?;
        Ok((self.page(filter, page).await?, total))
    }

    /// Every row that fits, up to a bound.
    pub async fn every<T: Table>(&self, filter: Filter, bound: usize) -> Result<Vec<T>, Error> {
        let take = i64::try_from(bound).unwrap_or(i64::MAX);
        self.page(filter, &Page::first::<T>(take)).await
    }

    async fn page<T: Table>(&self, filter: Filter, page: &Page) -> Result<Vec<T>, Error> {
        let doing = "reading rows";
        let sql = numbered(&format!(
            "SELECT {} FROM {}{} ORDER BY {} LIMIT {} OFFSET {}",
            T::COLUMNS.join(", "),
            T::NAME,
            filter.clause(),
            page.order,
            page.take,
            page.skip,
        ));
        let rows = bound(&sql, &filter.values)
            .fetch_all(&self.inner.pool)
            .await
            .map_err(Error::at(doing))?;
        let read: sqlx::Result<Vec<T>> = rows.iter().map(T::read).collect();
        read.map_err(Error::at(doing))
    }

    /// How many rows fit.
    pub async fn count<T: Table>(&self, filter: Filter) -> Result<u64, Error> {
        self.number(&format!("SELECT COUNT(*) FROM {}", T::NAME), filter)
            .await
            .map(|count| u64::try_from(count).unwrap_or(0))
    }

    /// The one number that a question in SQL gives for the rows that fit.
    pub async fn number(&self, select: &str, filter: Filter) -> Result<i64, Error> {
        let doing = "counting rows";
        let sql = numbered(&format!("{select}{}", filter.clause()));
        let row = bound(&sql, &filter.values)
            .fetch_one(&self.inner.pool)
            .await
            .map_err(Error::at(doing))?;
        row.try_get(0).map_err(Error::at(doing))
    }

    /// Rows of texts and numbers: `columns` of `from`, in the order and with the grouping of `tail`.
    pub async fn grouped(
        &self,
        columns: &str,
        from: &str,
        filter: Filter,
        tail: &str,
    ) -> Result<Vec<AnyRow>, Error> {
        let sql = numbered(&format!(
            "SELECT {columns} FROM {from}{} {tail}",
            filter.clause()
        ));
        bound(&sql, &filter.values)
            .fetch_all(&self.inner.pool)
            .await
            .map_err(Error::at("grouping rows"))
    }

    /// Removes the rows that fit; answers how many.
    pub async fn remove<T: Table>(&self, filter: Filter) -> Result<u64, Error> {
        self.execute(&format!("DELETE FROM {}", T::NAME), Vec::new(), filter)
            .await
    }

    /// Changes columns (`"status = ?, note = ?"`) of the rows that fit; answers how many.
    pub async fn change<T: Table>(
        &self,
        set: &str,
        values: Vec<Value>,
        filter: Filter,
    ) -> Result<u64, Error> {
        self.execute(&format!("UPDATE {} SET {set}", T::NAME), values, filter)
            .await
    }

    async fn execute(
        &self,
        sql: &str,
        mut values: Vec<Value>,
        filter: Filter,
    ) -> Result<u64, Error> {
        let sql = numbered(&format!("{sql}{}", filter.clause()));
        values.extend(filter.values);
        let done = bound(&sql, &values)
            .execute(&self.inner.pool)
            .await
            .map_err(Error::at("changing rows"))?;
        Ok(done.rows_affected())
    }
}
