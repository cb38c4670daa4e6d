//! A body as a tree of elements, for the messages that come one at a time: answers to questions, orders, alarms.
//!
//! What comes often, Keepalive and Catalog, is read by [`parse`](super::parse) without building anything. Here an end
//! tag closes the nearest open element of its name and all in it; one without an open element is left out; where the
//! markup is damaged, reading goes on at the next `<`, at most [`MANSCDP_REPAIRS_MAX`] times.
//!
//! Bounds: depth [`MANSCDP_DEPTH_MAX`], elements [`MANSCDP_ELEMENTS_MAX`], one text [`MANSCDP_TEXT_BYTES_MAX`]; what is
//! beyond is left out.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::{ParseError, charset};
use crate::limits::{
    MANSCDP_BODY_BYTES_MAX, MANSCDP_DEPTH_MAX, MANSCDP_ELEMENTS_MAX, MANSCDP_REPAIRS_MAX,
    MANSCDP_TEXT_BYTES_MAX,
};

/// An element with what stands in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// The first element of that name directly in this one.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Every element of that name directly in this one.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Text without the space around it.
    pub fn text(&self) -> &str {
        self.text.trim()
    }

    /// Text of a child; `None` if it is missing or empty.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.child(name)
            .map(Element::text)
            .filter(|text| !text.is_empty())
    }
}

/// Reads a body.
///
/// Errors: too long, or no element in it.
pub fn tree(body: &[u8]) -> Result<Element, ParseError> {
    if body.len() > MANSCDP_BODY_BYTES_MAX {
        return Err(ParseError::TooLong);
    }
    let decoded = charset::decode(body);
    let mut builder = Builder::default();
    builder.read(&decoded.text);
    builder.finish().ok_or(ParseError::NotXml)
}

#[derive(Default)]
struct Builder {
    /// The root first.
    open: Vec<Element>,
    root: Option<Element>,
    /// Elements that are left out, until as many have ended.
    beyond: usize,
    elements: usize,
}

impl Builder {
    fn read(&mut self, text: &str) {
        let mut rest = text;
        for _ in 0..MANSCDP_REPAIRS_MAX {
            match self.read_until_damage(rest) {
                Some(at) => rest = &rest[at..],
                None => return,
            }
        }
    }

    /// Answers where to go on behind damage.
    fn read_until_damage(&mut self, text: &str) -> Option<usize> {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.allow_dangling_amp = true;
        config.allow_unmatched_ends = true;
        config.check_end_names = false;
        config.expand_empty_elements = true;
        while self.root.is_none() {
            match reader.read_event() {
                Ok(Event::Start(tag)) => self.start(&tag),
                Ok(Event::End(tag)) => self.end(tag.name().0),
                Ok(Event::Text(piece)) => self.text(&piece.into_inner()),
                Ok(Event::CData(piece)) => self.text(&piece.into_inner()),
                Ok(Event::GeneralRef(reference)) => self.reference(&reference),
                Ok(Event::Eof) => return None,
                Ok(
                    Event::Empty(_)
                    | Event::Comment(_)
                    | Event::Decl(_)
                    | Event::PI(_)
                    | Event::DocType(_),
                ) => {}
                Err(_) => {
                    let from = reader.error_position() as usize + 1;
                    let found = memchr::memchr(b'<', text.as_bytes().get(from..)?)?;
                    return Some(from + found);
                }
            }
        }
        None
    }

    fn start(&mut self, tag: &BytesStart<'_>) {
        if self.beyond > 0
            || self.open.len() >= MANSCDP_DEPTH_MAX
            || self.elements >= MANSCDP_ELEMENTS_MAX
        {
            self.beyond += 1;
            return;
        }
        self.elements += 1;
        self.open.push(Element {
            name: tag.name().0.to_owned(),
            ..Element::default()
        });
    }

    fn end(&mut self, name: &str) {
        if self.beyond > 0 {
            self.beyond -= 1;
            return;
        }
        let Some(at) = self.open.iter().rposition(|element| element.name == name) else {
            return;
        };
        while self.open.len() > at {
            self.close();
        }
    }

    /// Closes the innermost element.
    fn close(&mut self) {
        let Some(element) = self.open.pop() else {
            return;
        };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }

    fn text(&mut self, piece: &str) {
        let Some(element) = self.open.last_mut().filter(|_| self.beyond == 0) else {
            return;
        };
        let room = MANSCDP_TEXT_BYTES_MAX.saturating_sub(element.text.len());
        let mut end = piece.len().min(room);
        while !piece.is_char_boundary(end) {
            end -= 1;
        }
        element.text.push_str(&piece[..end]);
    }

    fn reference(&mut self, reference: &BytesRef<'_>) {
        let known = match &**reference {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => reference.resolve_char_ref().ok().flatten(),
        };
        match known {
            Some(c) => self.text(c.encode_utf8(&mut [0; 4])),
            None => self.text(&format!("&{};", &**reference)),
        }
    }

    fn finish(mut self) -> Option<Element> {
        while !self.open.is_empty() {
            self.close();
        }
        self.root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Element {
        tree(text.as_bytes()).expect("an element")
    }

    #[test]
    fn elements_stand_where_they_stood() {
        let root = of(
            "<?xml version='1.0'?><Response><A> a &lt;b&gt; &x; </A><L Num='2'><Item><B>1</B></Item><Item/></L></Response>",
        );
        assert_eq!(root.name, "Response");
        assert_eq!(root.value("A"), Some("a <b> &x;"));
        let list = root.child("L").expect("a list");
        assert_eq!(list.all("Item").count(), 2);
        assert_eq!(list.children[0].value("B"), Some("1"));
        assert_eq!(root.value("C"), None);
    }

    #[test]
    fn damage_costs_what_is_damaged() {
        let root = of("<R><A>1</B></A><C>2</C><D>3<E>4</E></D></R>junk<R2/>");
        assert_eq!((root.value("A"), root.value("C")), (Some("1"), Some("2")));
        let root = of("<R><A>1</A><!-- never ends <B>2</B></R>");
        assert_eq!(root.value("A"), Some("1"));
        assert_eq!(root.value("B"), Some("2"));
        assert_eq!(tree(b"no element"), Err(ParseError::NotXml));
        assert_eq!(
            tree(&vec![b' '; MANSCDP_BODY_BYTES_MAX + 1]),
            Err(ParseError::TooLong)
        );
    }

    #[test]
    fn depth_elements_and_text_have_a_bound() {
        let nested = |n: usize| format!("{}x{}", "<A>".repeat(n), "</A>".repeat(n));
        let depth = |root: &Element| {
            let mut deepest = root;
            let mut n = 1;
            while let Some(child) = deepest.child("A") {
                deepest = child;
                n += 1;
            }
            n
        };
        assert_eq!(depth(&of(&nested(MANSCDP_DEPTH_MAX))), MANSCDP_DEPTH_MAX);
        assert_eq!(
            depth(&of(&nested(MANSCDP_DEPTH_MAX + 1))),
            MANSCDP_DEPTH_MAX
        );
        let many = |n: usize| of(&format!("<R>{}</R>", "<A/>".repeat(n))).children.len();
        assert_eq!(many(MANSCDP_ELEMENTS_MAX - 1), MANSCDP_ELEMENTS_MAX - 1);
        assert_eq!(many(MANSCDP_ELEMENTS_MAX), MANSCDP_ELEMENTS_MAX - 1);
        let long = |n: usize| of(&format!("<R>{}</R>", "x".repeat(n))).text().len();
        assert_eq!(long(MANSCDP_TEXT_BYTES_MAX), MANSCDP_TEXT_BYTES_MAX);
        assert_eq!(long(MANSCDP_TEXT_BYTES_MAX + 1), MANSCDP_TEXT_BYTES_MAX);
    }
}
