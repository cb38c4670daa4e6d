//! What all lists have in common: a page, a filter and an order, which the database applies.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::limits;
use crate::store::table::{Filter, Page, Table};

use super::ApiState;
use super::envelope::{Answer, Code, Failure, Paging};

/// Which part of a list is wanted. `F` says which rows.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListRequest<F> {
    #[serde(flatten)]
    pub paging: Paging,
    #[serde(default)]
    pub filter: Option<F>,
    /// A field of the items by which they are sorted; with `-` before it from the greatest down.
    #[serde(default)]
    #[schema(example = "-time")]
    pub sort: Option<String>,
}

/// A list without a filter.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct NoFilter {}

impl<F: Default> ListRequest<F> {
    pub fn take_filter(&mut self) -> F {
        self.filter.take().unwrap_or_default()
    }
}

impl<F> ListRequest<F> {
    /// The page in terms of a table; `usual` is its order if none is asked for.
    ///
    /// Errors: the table has no such field.
    pub fn page<T: Table>(&self, usual: &str) -> Result<Page, Failure> {
        let asked = self
            .sort
            .as_deref()
            .map(str::trim)
            .filter(|s| !s.is_empty());
        let asked = asked.unwrap_or(usual);
        let (name, direction) = match asked.strip_prefix('-') {
            Some(name) => (name, " DESC"),
            None => (asked, ""),
        };
        let column = snake_case(name);
        let column = T::COLUMNS.iter().find(|known| **known == column);
        let Some(column) = column else {
            let msg = format!("bad parameter: sort: there is no field {name:.64}");
            return Err(Failure::new(Code::ErrorParam, msg));
        };
        let key: Vec<String> = T::KEY
            .iter()
            .map(|key| format!(", {key}{direction}"))
            .collect();
        Ok(Page {
            skip: self.paging.skip(),
            take: i64::from(self.paging.size()),
            order: format!("{column}{direction}{}", key.concat()),
        })
    }

    /// Runs it.
    pub async fn run<T: Table>(
        &self,
        state: &ApiState,
        filter: Filter,
        usual: &str,
    ) -> Result<Answer<Vec<T>>, Failure> {
        let page = self.page::<T>(usual)?;
        let (rows, total) = state.store.list::<T>(filter, &page).await?;
        Ok(self.paging.answer(rows, total))
    }
}

/// `fileId` is `file_id`.
fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A name, note or other text that people give.
///
/// Errors: too long, or with control characters; the failure names the field.
pub fn text(field: &str, text: Option<String>) -> Result<String, Failure> {
    let text = text.unwrap_or_default();
    let flawed = |what: &str| {
        let msg = format!("bad parameter: {field} must have {what}");
        Err(Failure::new(Code::ErrorParam, msg))
    };
    if text.len() > limits::TEXT_BYTES_MAX {
        return flawed(&format!("at most {} bytes", limits::TEXT_BYTES_MAX));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return flawed("no control characters");
    }
    Ok(text)
}

/// As [`text`], and not empty.
pub fn name(field: &str, given: Option<String>) -> Result<String, Failure> {
    let given = text(field, given)?;
    if given.trim().is_empty() {
        let msg = format!("bad parameter: {field} is missing");
        return Err(Failure::new(Code::ErrorParam, msg));
    }
    Ok(given)
}

/// A list of ids.
///
/// Errors: none, or too many.
pub fn ids<T>(field: &str, ids: Vec<T>) -> Result<Vec<T>, Failure> {
    if ids.is_empty() || ids.len() > limits::IDS_PER_CALL_MAX {
        let msg = format!(
            "bad parameter: {field} must have 1 to {} items",
            limits::IDS_PER_CALL_MAX
        );
        return Err(Failure::new(Code::ErrorParam, msg));
    }
    Ok(ids)
}

pub fn not_found(what: &str) -> Failure {
    Failure::new(Code::NotFound, format!("{what} not found"))
}

pub fn bad(what: impl std::fmt::Display) -> Failure {
    Failure::new(Code::ErrorParam, format!("bad parameter: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::history::AlarmRow;

    #[test]
    fn only_fields_of_the_table_sort() {
        let request = |sort: &str| ListRequest::<NoFilter> {
            paging: Paging {
                page: 3,
                page_size: 10,
            },
            filter: None,
            sort: Some(sort.into()),
        };
        let page = request("-processorId")
            .page::<AlarmRow>("id")
            .expect("a field");
        assert_eq!(page.order, "processor_id DESC, id DESC");
        assert_eq!((page.skip, page.take), (30, 10));
        assert_eq!(
            request(" ").page::<AlarmRow>("-time").expect("usual").order,
            "time DESC, id DESC"
        );
        for wrong in ["time; DROP TABLE alarms", "nothing", "-", "1"] {
            assert_eq!(
                request(wrong)
                    .page::<AlarmRow>("id")
                    .expect_err("none")
                    .code,
                Code::ErrorParam
            );
        }
    }

    #[test]
    fn texts_have_bounds() {
        assert!(text("note", Some("x".repeat(limits::TEXT_BYTES_MAX))).is_ok());
        assert!(text("note", Some("x".repeat(limits::TEXT_BYTES_MAX + 1))).is_err());
        assert!(text("note", Some("a\0b".into())).is_err());
        assert!(
            name("name", None)
                .expect_err("missing")
                .msg
                .contains("name")
        );
        assert!(ids("ids", vec![0; limits::IDS_PER_CALL_MAX]).is_ok());
        assert!(ids("ids", vec![0; limits::IDS_PER_CALL_MAX + 1]).is_err());
        assert!(ids::<u8>("ids", vec![]).is_err());
    }
}
