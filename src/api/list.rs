//! What all lists have in common: a page, a filter and an order.
//!
//! Rows of the store are filtered, sorted and cut by the database ([`ListRequest::run`]). What lies in no table - dialogs
//! and messages of this run, what a device answers, the sealed book of certificates - is by [`ListRequest::cut`], with the
//! same words and the same failures.
//!
//! Bounds: [`limits::API_PAGE_ITEMS_MAX`] items of a page, [`limits::LIST_ITEMS_MAX`] items that are sorted outside the
//! database.

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

/// Which part of a list is wanted, of a call that takes it behind the `?`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListQuery {
    page: u32,
    page_size: u32,
    sort: Option<String>,
    /// A part of one of the texts of an item.
    pub keyword: String,
}

impl ListQuery {
    /// `usual`: items of a page if the caller does not say.
    pub fn request(self, usual: u32) -> ListRequest<NoFilter> {
        let page_size = match self.page_size {
            0 => usual,
            asked => asked,
        };
        let paging = Paging {
            page: self.page,
            page_size,
        };
        ListRequest::new(paging, self.sort)
    }
}

/// A list without a filter.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct NoFilter {}

impl<F: Default> ListRequest<F> {
    pub fn take_filter(&mut self) -> F {
        self.filter.take().unwrap_or_default()
    }
}

/// A value of an item by which a list outside the database is sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Number(i64),
    Text(String),
}

impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Key::Text(text.to_owned())
    }
}

/// A field by which a list outside the database can be sorted, and its value.
pub type Field<T> = (&'static str, fn(&T) -> Key);

fn no_field(name: &str) -> Failure {
    bad(format_args!("sort: there is no field {name:.64}"))
}

impl<F> ListRequest<F> {
    /// A list without a filter, of a call that has its parameters elsewhere.
    pub fn new(paging: Paging, sort: Option<String>) -> ListRequest<F> {
        ListRequest {
            paging,
            filter: None,
            sort,
        }
    }

    /// The field that is asked for, and whether it goes from the greatest down.
    fn sort_word(&self) -> Option<(&str, bool)> {
        let word = self.sort.as_deref().map(str::trim);
        word.filter(|word| !word.is_empty()).map(read_sort)
    }

    /// The page in terms of a table; `usual` is its order if none is asked for, and `words` are the fields of its items that
    /// are called otherwise than its columns, with what they are in SQL.
    ///
    /// Errors: the table has no such field.
    pub fn page<T: Table>(
        &self,
        usual: &str,
        words: &[(&str, &'static str)],
    ) -> Result<Page, Failure> {
        let (name, down) = self.sort_word().unwrap_or_else(|| read_sort(usual));
        let direction = if down { " DESC" } else { "" };
        let word = words.iter().find(|(word, _)| *word == name);
        let column = snake_case(name);
        let columns = T::COLUMNS.iter().find(|known| **known == column);
        let Some(by) = word.map(|(_, sql)| *sql).or(columns.copied()) else {
            return Err(no_field(name));
        };
        let key: Vec<String> = T::KEY
            .iter()
            .map(|key| format!(", {key}{direction}"))
            .collect();
        Ok(Page {
            skip: self.paging.skip(),
            take: i64::from(self.paging.size()),
            order: format!("{by}{direction}{}", key.concat()),
        })
    }

    /// The order of rows that are grouped, by `words` and what these are in SQL.
    ///
    /// Errors: there is no such field.
    pub fn order(&self, usual: &str, words: &[(&str, &'static str)]) -> Result<String, Failure> {
        let (name, down) = self.sort_word().unwrap_or_else(|| read_sort(usual));
        let direction = if down { " DESC" } else { "" };
        let word = words.iter().find(|(word, _)| *word == name);
        let (_, sql) = word.ok_or_else(|| no_field(name))?;
        Ok(format!("{sql}{direction}, 1{direction}"))
    }

    /// Looks whether a list outside the database has the field that is asked for, before what is in it is fetched.
    pub fn check<T>(&self, fields: &[Field<T>]) -> Result<(), Failure> {
        match self.sort_word() {
            Some((name, _)) if !fields.iter().any(|(known, _)| *known == name) => {
                Err(no_field(name))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Runs it.
    pub async fn run<T: Table>(
        &self,
        state: &ApiState,
        filter: Filter,
        usual: &str,
    ) -> Result<Answer<Vec<T>>, Failure> {
        self.run_by(state, filter, usual, &[]).await
    }

    /// Runs it, with fields that are called otherwise than the columns.
    pub async fn run_by<T: Table>(
        &self,
        state: &ApiState,
        filter: Filter,
        usual: &str,
        words: &[(&str, &'static str)],
    ) -> Result<Answer<Vec<T>>, Failure> {
        let page = self.page::<T>(usual, words)?;
        let (rows, total) = state.store.list::<T>(filter, &page).await?;
        Ok(self.paging.answer(rows, total))
    }

    /// The same for items that lie in no table: they come filtered and in their usual order. `show` runs for the items of the
    /// page alone.
    ///
    /// Errors: there is no such field (4); more than [`limits::LIST_ITEMS_MAX`] would have to be sorted (7).
    pub fn cut<T, U>(
        &self,
        mut items: Vec<T>,
        fields: &[Field<T>],
        show: impl FnMut(T) -> U,
    ) -> Result<Answer<Vec<U>>, Failure> {
        if let Some((name, down)) = self.sort_word() {
            let field = fields.iter().find(|(known, _)| *known == name);
            let (_, key) = field.ok_or_else(|| no_field(name))?;
            if items.len() > limits::LIST_ITEMS_MAX {
                let msg = "busy: at the limit LIST_ITEMS_MAX; ask for fewer by the filter";
                return Err(Failure::new(Code::Busy, msg));
            }
            items.sort_by_cached_key(key);
            if down {
                items.reverse();
            }
        }
        Ok(self.paging.cut(items, show))
    }
}

fn read_sort(word: &str) -> (&str, bool) {
    match word.strip_prefix('-') {
        Some(name) => (name, true),
        None => (word, false),
    }
}

/// Whether one of the texts holds the word, whatever the case of its letters; an empty word is in all. As
/// [`Filter::contains`] for items outside the database.
pub fn holds(texts: &[&str], word: &str) -> bool {
    let word = word.trim().to_lowercase();
    word.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&word))
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
            .page::<AlarmRow>("id", &[])
            .expect("a field");
        assert_eq!(page.order, "processor_id DESC, id DESC");
        assert_eq!((page.skip, page.take), (30, 10));
        assert_eq!(
            request(" ")
                .page::<AlarmRow>("-time", &[])
                .expect("usual")
                .order,
            "time DESC, id DESC"
        );
        for wrong in ["time; DROP TABLE alarms", "nothing", "-", "1"] {
            assert_eq!(
                request(wrong)
                    .page::<AlarmRow>("id", &[("1 ", "1")])
                    .expect_err("none")
                    .code,
                Code::ErrorParam
            );
        }
    }

    #[test]
    fn a_field_may_be_called_otherwise_than_its_column() {
        let request = ListRequest::<NoFilter>::new(
            Paging {
                page: 0,
                page_size: 1,
            },
            Some("-devID".into()),
        );
        let page = request.page::<AlarmRow>("id", &[("devID", "device")]);
        assert_eq!(page.expect("a field").order, "device DESC, id DESC");
        assert!(request.page::<AlarmRow>("id", &[]).is_err());
        let grouped = request.order("name", &[("name", "1"), ("devID", "2")]);
        assert_eq!(grouped.expect("a field"), "2 DESC, 1 DESC");
        assert!(request.order("name", &[("name", "1")]).is_err());
    }

    /// A list outside the database has the words, the order and the failures of one in it.
    #[test]
    fn lists_outside_the_database_are_sorted_and_cut_alike() {
        const FIELDS: &[Field<(i64, &str)>] = &[
            ("time", |item| Key::Number(item.0)),
            ("name", |item| item.1.into()),
        ];
        let items = || vec![(3, "b"), (1, "c"), (2, "b"), (10, "a")];
        let list = |sort: Option<&str>, page, page_size| {
            let paging = Paging { page, page_size };
            let request = ListRequest::<NoFilter>::new(paging, sort.map(str::to_owned));
            request.cut(items(), FIELDS, |item| item.0)
        };
        let times = |sort| list(sort, 0, 0).expect("sorted").data.expect("data");
        assert_eq!(times(None), [3, 1, 2, 10], "as it came");
        assert_eq!(times(Some(" ")), [3, 1, 2, 10]);
        assert_eq!(times(Some("time")), [1, 2, 3, 10], "by number");
        assert_eq!(times(Some("-time")), [10, 3, 2, 1]);
        assert_eq!(times(Some("name")), [10, 3, 2, 1], "what is equal stays");
        assert_eq!(times(Some("-name")), [1, 2, 3, 10]);
        let page = list(Some("time"), 1, 3).expect("sorted");
        assert_eq!(page.data.expect("data"), [10]);
        assert_eq!(page.page_info.expect("info").total_count, 4);
        for wrong in ["colour", "-", "time "] {
            let failure = list(Some(wrong), 0, 0).map(|_| ());
            match failure {
                Ok(()) => assert_eq!(wrong.trim(), "time", "spaces around it do not count"),
                Err(failure) => {
                    let paging = Paging {
                        page: 0,
                        page_size: 0,
                    };
                    let request = ListRequest::<NoFilter>::new(paging, Some(wrong.into()));
                    assert_eq!(request.check(FIELDS), Err(failure.clone()));
                    assert_eq!(failure.code, Code::ErrorParam);
                    assert!(failure.msg.contains("sort"), "{}", failure.msg);
                }
            }
        }
    }

    #[test]
    fn so_many_are_sorted_outside_the_database_and_no_more() {
        let sorted = |count: usize| {
            let paging = Paging {
                page: 0,
                page_size: 1,
            };
            let request = ListRequest::<NoFilter>::new(paging, Some("-n".into()));
            let fields: &[Field<usize>] = &[("n", |n| Key::Number(*n as i64))];
            request.cut((0..count).collect(), fields, |n| n)
        };
        let most = limits::LIST_ITEMS_MAX;
        assert_eq!(sorted(most).expect("sorted").data, Some(vec![most - 1]));
        assert_eq!(sorted(most + 1).expect_err("too many").code, Code::Busy);
    }

    #[test]
    fn a_word_is_found_as_the_database_finds_it() {
        assert!(holds(&["North Gate", ""], " gATE "));
        assert!(holds(&[], " "));
        assert!(!holds(&["gate"], "%"));
        assert!(!holds(&[], "x"));
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
