//! Records: parts of a body that are read, checked and written by one table each.
//!
//! `record!` takes a struct with, for each field, how it stands in the body:
//!
//! | form | in the body |
//! |---|---|
//! | `leaf "X"` | `<X>value</X>`; an `Option` may be missing |
//! | `leaf "X" [0..=4]` | the same, and [`Record::check`] holds the number against the range |
//! | `leaf "X" [len 32..=128]` | the same for the bytes of a text |
//! | `group "X"` | `<X>…</X>`, a record of its own |
//! | `list "L" ["Item", 4, "SumNum"]` | `<SumNum>n</SumNum><L Num="n"><Item>…</Item>…</L>`, at most 4 |
//! | `many "X" [7, "SumNum"]` | `<SumNum>n</SumNum><X>…</X><X>…</X>`, at most 7 |
//!
//! An empty name of the sum leaves it out. Elements are written in the order of the table, as the schema wants it, and
//! read in any. With the shell the same table gives the JSON of the API.

use std::fmt;
use std::fmt::Write;
use std::ops::RangeInclusive;

use super::tree::Element;
use crate::id::GbId;

/// A part of a body.
pub trait Record: Sized {
    /// Writes the fields, without an element around them.
    fn write(&self, out: &mut String);

    /// Reads the fields from the element they stand in. Values outside of their ranges are taken: devices have their own.
    ///
    /// Errors: a field that must be there is missing or unreadable.
    fn read(from: &Element) -> Result<Self, BadField>;

    /// Holds every number and text against its range.
    fn check(&self) -> Result<(), BadField>;
}

/// What is wrong with which field, by its name in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadField {
    pub field: &'static str,
    pub flaw: Flaw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Missing,
    Unreadable,
    /// Outside of these bounds.
    Outside {
        min: i64,
        max: i64,
    },
    /// Bytes of a text, or items of a list.
    Length {
        min: usize,
        max: usize,
    },
}

impl BadField {
    /// The name as the API has it: `preset_index` is `presetIndex`.
    pub fn camel_case(&self) -> String {
        let mut upper = false;
        let mut out = String::with_capacity(self.field.len());
        for c in self.field.chars() {
            if c == '_' {
                upper = true;
            } else if std::mem::take(&mut upper) {
                out.push(c.to_ascii_uppercase());
            } else {
                out.push(c);
            }
        }
        out
    }
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.camel_case();
        match self.flaw {
            Flaw::Missing => write!(f, "{name} is missing"),
            Flaw::Unreadable => write!(f, "{name} cannot be read"),
            Flaw::Outside { min, max } => write!(f, "{name} must be {min} to {max}"),
            Flaw::Length { min, max } => {
                write!(f, "{name} must have {min} to {max} bytes or items")
            }
        }
    }
}

impl std::error::Error for BadField {}

/// A value that is the text of one element.
pub trait Leaf: Sized {
    fn write(&self, name: &str, out: &mut String);

    /// Errors: missing or unreadable; the field is named by the caller.
    fn read(parent: &Element, name: &str) -> Result<Self, Flaw>;
}

macro_rules! plain_leaf {
    ($($t:ty),*) => {$(
        impl Leaf for $t {
            fn write(&self, name: &str, out: &mut String) {
                _ = write!(out, "<{name}>{self}</{name}>\r\n");
            }

            fn read(parent: &Element, name: &str) -> Result<$t, Flaw> {
                let text = parent.value(name).ok_or(Flaw::Missing)?;
                text.parse().map_err(|_| Flaw::Unreadable)
            }
        }
    )*};
}

plain_leaf!(u32, i32, GbId);

impl Leaf for f64 {
    fn write(&self, name: &str, out: &mut String) {
        _ = write!(out, "<{name}>{self}</{name}>\r\n");
    }

    fn read(parent: &Element, name: &str) -> Result<f64, Flaw> {
        let text = parent.value(name).ok_or(Flaw::Missing)?;
        let value = text.parse::<f64>().ok().filter(|v| v.is_finite());
        value.ok_or(Flaw::Unreadable)
    }
}

/// An empty text is a text.
impl Leaf for String {
    fn write(&self, name: &str, out: &mut String) {
        super::encode::element(out, name, self);
    }

    fn read(parent: &Element, name: &str) -> Result<String, Flaw> {
        let child = parent.child(name).ok_or(Flaw::Missing)?;
        Ok(child.text().to_owned())
    }
}

/// What cannot be read counts as missing, so that one bad value costs no answer.
impl<T: Leaf> Leaf for Option<T> {
    fn write(&self, name: &str, out: &mut String) {
        if let Some(value) = self {
            value.write(name, out);
        }
    }

    fn read(parent: &Element, name: &str) -> Result<Option<T>, Flaw> {
        if parent.value(name).is_none() {
            return Ok(None);
        }
        Ok(T::read(parent, name).ok())
    }
}

/// A record in an element of its own, or none.
pub trait Group: Sized {
    fn write(&self, name: &str, out: &mut String);
    fn read(parent: &Element, name: &str) -> Result<Self, BadField>;
    fn check(&self) -> Result<(), BadField>;
}

impl<T: Record> Group for T {
    fn write(&self, name: &str, out: &mut String) {
        _ = write!(out, "<{name}>\r\n");
        Record::write(self, out);
        _ = write!(out, "</{name}>\r\n");
    }

    fn read(parent: &Element, name: &str) -> Result<T, BadField> {
        let element = parent.child(name).ok_or(BadField {
            field: "",
            flaw: Flaw::Missing,
        })?;
        Record::read(element)
    }

    fn check(&self) -> Result<(), BadField> {
        Record::check(self)
    }
}

impl<T: Record> Group for Option<T> {
    fn write(&self, name: &str, out: &mut String) {
        if let Some(record) = self {
            Group::write(record, name, out);
        }
    }

    fn read(parent: &Element, name: &str) -> Result<Option<T>, BadField> {
        parent.child(name).map(Record::read).transpose()
    }

    fn check(&self) -> Result<(), BadField> {
        self.as_ref().map_or(Ok(()), Record::check)
    }
}

/// Writes `<list Num="n">` with an `<item>` for each.
pub fn write_list<T: Record>(items: &[T], list: &str, item: &str, out: &mut String) {
    _ = write!(out, "<{list} Num=\"{}\">\r\n", items.len());
    for record in items {
        Group::write(record, item, out);
    }
    _ = write!(out, "</{list}>\r\n");
}

/// The items that can be read, up to `max`. A list that is missing is empty.
pub fn read_list<T: Record>(parent: &Element, list: &str, item: &str, max: usize) -> Vec<T> {
    parent
        .child(list)
        .map_or_else(Vec::new, |list| read_many(list, item, max))
}

/// The same without an element around the items.
pub fn read_many<T: Record>(parent: &Element, item: &str, max: usize) -> Vec<T> {
    parent
        .all(item)
        .filter_map(|element| T::read(element).ok())
        .take(max)
        .collect()
}

pub fn write_sum(items: usize, name: &str, out: &mut String) {
    if !name.is_empty() {
        _ = write!(out, "<{name}>{items}</{name}>\r\n");
    }
}

/// Something whose size has a range.
pub trait Ranged {
    fn outside(&self, range: &RangeInclusive<i64>) -> bool;
}

macro_rules! number_size {
    ($($t:ty),*) => {$(
        impl Ranged for $t {
            fn outside(&self, range: &RangeInclusive<i64>) -> bool {
                // A number just beyond a bound, such as 360.5, is outside as well.
                !((*range.start() as f64)..=(*range.end() as f64)).contains(&f64::from(*self))
            }
        }
    )*};
}

number_size!(u32, i32, f64);

impl<T: Ranged> Ranged for Option<T> {
    fn outside(&self, range: &RangeInclusive<i64>) -> bool {
        self.as_ref().is_some_and(|value| value.outside(range))
    }
}

/// The bytes of a text that may be missing.
pub fn text_length(text: &(impl AsText + ?Sized)) -> Option<usize> {
    text.length()
}

pub trait AsText {
    fn length(&self) -> Option<usize>;
}

impl AsText for String {
    fn length(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl AsText for Option<String> {
    fn length(&self) -> Option<usize> {
        self.as_ref().map(String::len)
    }
}

/// Declares a struct that is a [`Record`]. See the [module](self).
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                pub $field:ident : $type:ty = $form:ident $element:literal $([$($arg:tt)*])?;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[cfg_attr(feature = "node", derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema))]
        #[cfg_attr(feature = "node", serde(rename_all = "camelCase", deny_unknown_fields))]
        pub struct $name {
            $(
                $(#[$field_meta])*
                pub $field: $type,
            )*
        }

        impl $crate::gb28181::manscdp::fields::Record for $name {
            #[allow(unused_variables)]
            fn write(&self, out: &mut String) {
                $($crate::gb28181::manscdp::fields::record!(@write $form, &self.$field, $element, out $(, $($arg)*)?);)*
            }

            fn read(
                from: &$crate::gb28181::manscdp::tree::Element,
            ) -> Result<$name, $crate::gb28181::manscdp::fields::BadField> {
                Ok($name {
                    $($field: $crate::gb28181::manscdp::fields::record!(
                        @read $form, stringify!($field), $element, from $(, $($arg)*)?
                    ),)*
                })
            }

            fn check(&self) -> Result<(), $crate::gb28181::manscdp::fields::BadField> {
                $($crate::gb28181::manscdp::fields::record!(
                    @check $form, stringify!($field), &self.$field $(, $($arg)*)?
                );)*
                Ok(())
            }
        }
    };

    (@write leaf, $value:expr, $element:literal, $out:ident $(, $($arg:tt)*)?) => {
        $crate::gb28181::manscdp::fields::Leaf::write($value, $element, $out)
    };
    (@write group, $value:expr, $element:literal, $out:ident) => {
        $crate::gb28181::manscdp::fields::Group::write($value, $element, $out)
    };
    (@write list, $value:expr, $element:literal, $out:ident, $item:literal, $max:literal, $sum:literal) => {{
        $crate::gb28181::manscdp::fields::write_sum($value.len(), $sum, $out);
        $crate::gb28181::manscdp::fields::write_list($value, $element, $item, $out);
    }};
    (@write many, $value:expr, $element:literal, $out:ident, $max:literal, $sum:literal) => {{
        $crate::gb28181::manscdp::fields::write_sum($value.len(), $sum, $out);
        for record in $value {
            $crate::gb28181::manscdp::fields::Group::write(record, $element, $out);
        }
    }};

    (@read leaf, $field:expr, $element:literal, $from:ident $(, $($arg:tt)*)?) => {
        $crate::gb28181::manscdp::fields::Leaf::read($from, $element).map_err(|flaw| {
            $crate::gb28181::manscdp::fields::BadField { field: $field, flaw }
        })?
    };
    (@read group, $field:expr, $element:literal, $from:ident) => {
        $crate::gb28181::manscdp::fields::Group::read($from, $element).map_err(|bad| {
            // Only the group itself has no name yet.
            if bad.field.is_empty() {
                $crate::gb28181::manscdp::fields::BadField { field: $field, ..bad }
            } else {
                bad
            }
        })?
    };
    (@read list, $field:expr, $element:literal, $from:ident, $item:literal, $max:literal, $sum:literal) => {
        $crate::gb28181::manscdp::fields::read_list($from, $element, $item, $max)
    };
    (@read many, $field:expr, $element:literal, $from:ident, $max:literal, $sum:literal) => {
        $crate::gb28181::manscdp::fields::read_many($from, $element, $max)
    };

    (@check leaf, $field:expr, $value:expr) => {};
    (@check leaf, $field:expr, $value:expr, len $min:literal ..= $max:literal) => {
        if $crate::gb28181::manscdp::fields::text_length($value)
            .is_some_and(|length| !($min..=$max).contains(&length))
        {
            return Err($crate::gb28181::manscdp::fields::BadField {
                field: $field,
                flaw: $crate::gb28181::manscdp::fields::Flaw::Length { min: $min, max: $max },
            });
        }
    };
    (@check leaf, $field:expr, $value:expr, $range:expr) => {
        if $crate::gb28181::manscdp::fields::Ranged::outside($value, &$range) {
            return Err($crate::gb28181::manscdp::fields::BadField {
                field: $field,
                flaw: $crate::gb28181::manscdp::fields::Flaw::Outside {
                    min: *$range.start(),
                    max: *$range.end(),
                },
            });
        }
    };
    (@check group, $field:expr, $value:expr) => {
        $crate::gb28181::manscdp::fields::Group::check($value)?;
    };
    (@check list, $field:expr, $value:expr, $item:literal, $max:literal, $sum:literal) => {
        $crate::gb28181::manscdp::fields::check_items($field, $value, $max)?;
    };
    (@check many, $field:expr, $value:expr, $max:literal, $sum:literal) => {
        $crate::gb28181::manscdp::fields::check_items($field, $value, $max)?;
    };
}

pub(crate) use record;

/// Holds a list against its bound, and every item against its own.
pub fn check_items<T: Record>(
    field: &'static str,
    items: &[T],
    max: usize,
) -> Result<(), BadField> {
    if items.len() > max {
        return Err(BadField {
            field,
            flaw: Flaw::Length { min: 0, max },
        });
    }
    items.iter().try_for_each(Record::check)
}
