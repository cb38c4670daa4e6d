//! Reading MANSCDP: markup to [`Message`], whatever state the markup is in.
//!
//! `quick-xml` splits the text; this file decides what the pieces mean. It keeps no stack: a place is known by the names
//! that may stand there, so that a missing or wrong end tag moves nothing else. An `<Item>` ends the item before it.
//! Where the markup is damaged (a `<` inside a tag, a tag or comment that never ends) reading goes on at the next `<`,
//! at most [`MANSCDP_REPAIRS_MAX`] times, so that the work for a message is bounded.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::tree::Element;
use super::{
    Body, CatalogItem, CatalogPage, CmdType, DeviceInfo, Flaws, Message, ParseError, Root, charset,
};
use crate::id::GbId;
use crate::limits::{
    MANSCDP_BODY_BYTES_MAX, MANSCDP_ITEMS_MAX, MANSCDP_REPAIRS_MAX, MANSCDP_VALUE_BYTES_MAX,
};

/// Reads one body.
///
/// Errors: only for what cannot be answered as a message at all. Everything else is tolerated and told in
/// [`Message::flaws`].
pub fn parse(body: &[u8]) -> Result<Message, ParseError> {
    if body.len() > MANSCDP_BODY_BYTES_MAX {
        return Err(ParseError::TooLong);
    }
    let decoded = charset::decode(body);
    let mut parser = Parser {
        flaws: Flaws {
            charset: decoded.damaged,
            ..Flaws::default()
        },
        ..Parser::default()
    };
    parser.read(&decoded.text);
    parser.finish()
}

/// Where in a message reading is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    /// Directly in the root.
    Top,
    /// In `DeviceList`, between items.
    List,
    Item,
    /// In the `Info` of an item.
    ItemInfo,
    /// Behind the end of the root.
    Done,
}

#[derive(Default)]
struct Parser<'a> {
    place: Place,
    /// The element whose text is being collected.
    field: Option<Cow<'a, str>>,
    value: Cow<'a, str>,
    /// An element that is of no interest, until it ends.
    skip: Option<Cow<'a, str>>,
    root_name: Cow<'a, str>,
    root: Option<Root>,
    cmd: Option<CmdType>,
    sn: Option<u32>,
    device: Option<GbId>,
    status: Option<String>,
    online: Option<String>,
    recording: bool,
    info: DeviceInfo,
    page: CatalogPage,
    item: CatalogItem,
    flaws: Flaws,
    /// Times that reading was taken up again behind damage.
    restarts: u16,
}

impl<'a> Parser<'a> {
    fn read(&mut self, text: &'a str) {
        let mut base = 0;
        let mut reader = reader_of(text);
        while self.place != Place::Done {
            let resume = match reader.read_event() {
                Ok(Event::Start(tag)) => {
                    let end = base + reader.buffer_position() as usize;
                    match damage_in(text, end, tag.len(), tag.contains('<')) {
                        None => {
                            self.start(&tag);
                            continue;
                        }
                        resume => resume,
                    }
                }
                Ok(Event::End(tag)) => {
                    let end = base + reader.buffer_position() as usize;
                    let name = tag.name();
                    let damaged = name.0.contains('<');
                    let resume = damage_in(text, end, tag.len(), damaged);
                    self.end(if damaged { "" } else { name.0 });
                    if resume.is_none() {
                        continue;
                    }
                    resume
                }
                Ok(Event::Text(piece)) => {
                    self.text(piece.into_inner());
                    continue;
                }
                Ok(Event::CData(piece)) => {
                    self.text(piece.into_inner());
                    continue;
                }
                Ok(Event::GeneralRef(reference)) => {
                    self.reference(&reference);
                    continue;
                }
                Ok(Event::Eof) => return,
                Ok(
                    Event::Empty(_)
                    | Event::Comment(_)
                    | Event::Decl(_)
                    | Event::PI(_)
                    | Event::DocType(_),
                ) => continue,
                Err(_) => {
                    let from = base + reader.error_position() as usize + 1;
                    next_tag(text, from)
                }
            };
            let Some(at) = self.repair(resume) else {
                return;
            };
            base = at;
            reader = reader_of(&text[at..]);
        }
    }

    /// Counts a damaged place. `None` ends the reading: nothing follows, or there were too many.
    fn repair(&mut self, resume: Option<usize>) -> Option<usize> {
        self.damaged();
        self.restarts += 1;
        if self.restarts >= MANSCDP_REPAIRS_MAX {
            self.flaws.truncated |= resume.is_some();
            return None;
        }
        resume
    }

    fn damaged(&mut self) {
        self.flaws.repairs = self.flaws.repairs.saturating_add(1);
    }

    fn start(&mut self, tag: &BytesStart<'a>) {
        let name = tag.name().0;
        if let Some(field) = self.field.take() {
            if !is_leaf(self.place, &field) {
                // An element that holds elements and means nothing here: GuardInfo, RecordList, Info at the top.
                self.skip = Some(field);
                self.value = Cow::Borrowed("");
            } else {
                self.damaged();
                self.assign(&field);
            }
        }
        if self.skip.is_some() {
            let item_follows =
                name == "Item" && matches!(self.place, Place::List | Place::Item | Place::ItemInfo);
            if !item_follows && name != "DeviceList" {
                return;
            }
            self.skip = None;
        }
        let field = || Some(Cow::Owned(name.to_owned()));
        match self.place {
            Place::Outside => {
                self.root = Some(Root::from_name(name));
                self.root_name = Cow::Owned(name.to_owned());
                self.place = Place::Top;
                self.root_attributes(tag);
            }
            Place::Top => match name {
                "DeviceList" => self.place = Place::List,
                "Item" => self.open_item(),
                _ => self.field = field(),
            },
            Place::List => match name {
                "Item" => self.open_item(),
                _ => self.skip = field(),
            },
            Place::Item | Place::ItemInfo => match name {
                "Item" => {
                    self.damaged();
                    self.close_item();
                    self.open_item();
                }
                "Info" => self.place = Place::ItemInfo,
                _ => self.field = field(),
            },
            Place::Done => {}
        }
    }

    fn end(&mut self, name: &str) {
        let ends_item = name == "Item" && matches!(self.place, Place::Item | Place::ItemInfo);
        let ends_list = name == "DeviceList"
            && matches!(self.place, Place::List | Place::Item | Place::ItemInfo);
        if let Some(skip) = &self.skip {
            if *skip != name && !ends_item && !ends_list && self.root_name != name {
                return;
            }
            let done = *skip == name;
            self.skip = None;
            if done {
                return;
            }
        }
        if let Some(field) = self.field.take() {
            let matches = field == name;
            self.assign(&field);
            if matches {
                return;
            }
            self.damaged();
        }
        if ends_item {
            self.close_item();
            self.place = Place::List;
        } else if ends_list {
            if self.place != Place::List {
                self.damaged();
                self.close_item();
            }
            self.place = Place::Top;
        } else if name == "Info" && self.place == Place::ItemInfo {
            self.place = Place::Item;
        } else if self.root_name == name && self.place != Place::Outside {
            if matches!(self.place, Place::Item | Place::ItemInfo) {
                self.close_item();
            }
            self.place = Place::Done;
        }
    }

    fn text(&mut self, piece: Cow<'a, str>) {
        if self.field.is_none() {
            return;
        }
        if self.value.is_empty() {
            self.value = piece;
        } else {
            self.value.to_mut().push_str(&piece);
        }
        if self.value.len() > MANSCDP_VALUE_BYTES_MAX {
            let mut end = MANSCDP_VALUE_BYTES_MAX;
            while !self.value.is_char_boundary(end) {
                end -= 1;
            }
            self.value.to_mut().truncate(end);
            self.flaws.truncated = true;
        }
    }

    /// `&lt;` and its like. What is no reference (`A&B;C`) is the text that it looks like.
    fn reference(&mut self, reference: &BytesRef<'a>) {
        let known = match &**reference {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => reference.resolve_char_ref().ok().flatten(),
        };
        let piece = match known {
            Some(c) => c.to_string(),
            None => format!("&{};", &**reference),
        };
        self.text(Cow::Owned(piece));
    }

    /// gb28181-rs writes the command into the root: `<Notify CmdType="Keepalive">`.
    fn root_attributes(&mut self, tag: &BytesStart<'_>) {
        if tag.attributes_raw().is_empty() {
            return;
        }
        for attribute in tag.attributes().with_checks(false).flatten() {
            let name = attribute.key.0;
            if matches!(name, "CmdType" | "SN" | "DeviceID" | "SumNum") {
                self.value = Cow::Owned(attribute.value.into_owned());
                self.assign(name);
            }
        }
    }

    fn open_item(&mut self) {
        self.place = Place::Item;
        self.item = CatalogItem {
            // An organisation has no Status; a camera that says nothing is tried.
            online: true,
            ..CatalogItem::default()
        };
    }

    fn close_item(&mut self) {
        let item = std::mem::take(&mut self.item);
        if item.id.is_empty() {
            self.page.unusable += 1;
            self.flaws.unusable_items += 1;
        } else if self.page.items.len() < MANSCDP_ITEMS_MAX {
            self.page.items.push(item);
        } else {
            self.flaws.truncated = true;
        }
    }

    /// Takes the collected text as the value of `name`.
    fn assign(&mut self, name: &str) {
        let value = std::mem::take(&mut self.value);
        let value = value.trim();
        match self.place {
            Place::Top => self.assign_top(name, value),
            Place::Item | Place::ItemInfo => assign_item(&mut self.item, name, value),
            Place::Outside | Place::List | Place::Done => {}
        }
    }

    fn assign_top(&mut self, name: &str, value: &str) {
        match name {
            "CmdType" => self.cmd = Some(CmdType::from_name(value)),
            "SN" => self.sn = value.parse().ok(),
            "DeviceID" => self.device = value.parse().ok(),
            "SumNum" => self.page.total = value.parse().ok(),
            "Status" => self.status = Some(value.to_owned()),
            "Online" => self.online = Some(value.to_owned()),
            "Record" => self.recording = value.eq_ignore_ascii_case("ON"),
            "DeviceName" => self.info.name = value.to_owned(),
            "Manufacturer" => self.info.manufacturer = value.to_owned(),
            "Model" => self.info.model = value.to_owned(),
            "Firmware" => self.info.firmware = value.to_owned(),
            "Channel" => self.info.channels = value.parse().ok(),
            _ => {}
        }
    }

    fn finish(mut self) -> Result<Message, ParseError> {
        let root = self.root.ok_or(ParseError::NotXml)?;
        if let Some(field) = self.field.take() {
            self.assign(&field);
        }
        if matches!(self.place, Place::Item | Place::ItemInfo) {
            self.close_item();
        }
        let cmd = match (self.cmd, root) {
            (Some(cmd), _) => cmd,
            (None, Root::Other) => CmdType::Unknown,
            (None, Root::Query | Root::Control | Root::Notify | Root::Response) => {
                return Err(ParseError::NoCmdType);
            }
        };
        let body = match (root, cmd) {
            (Root::Notify, CmdType::Keepalive) => Body::Keepalive {
                ok: self.status.as_deref().is_none_or(is_on),
            },
            (Root::Response | Root::Notify, CmdType::Catalog) => Body::Catalog(self.page),
            (Root::Response, CmdType::DeviceInfo) => Body::DeviceInfo(Box::new(self.info)),
            (Root::Response, CmdType::DeviceStatus) => Body::DeviceStatus {
                online: self
                    .online
                    .as_deref()
                    .or(self.status.as_deref())
                    .is_none_or(is_on),
                recording: self.recording,
            },
            (_, _) => Body::Plain,
        };
        Ok(Message {
            root,
            cmd,
            sn: self.sn,
            device: self.device,
            body,
            flaws: self.flaws,
        })
    }
}

fn reader_of(text: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.allow_unmatched_ends = true;
    config.check_end_names = false;
    config.expand_empty_elements = true;
    reader
}

/// Where to go on when a tag that ends at `end` has swallowed the start of another one.
fn damage_in(text: &str, end: usize, tag_bytes: usize, has_open: bool) -> Option<usize> {
    has_open
        .then(|| next_tag(text, end.saturating_sub(tag_bytes + 1)))
        .flatten()
}

fn next_tag(text: &str, from: usize) -> Option<usize> {
    memchr::memchr(b'<', text.as_bytes().get(from..)?).map(|at| from + at)
}

/// Whether an element of this name holds text that is read here. A tag inside it is then damage, not structure.
fn is_leaf(place: Place, name: &str) -> bool {
    match place {
        Place::Top => matches!(
            name,
            "CmdType"
                | "SN"
                | "DeviceID"
                | "SumNum"
                | "Status"
                | "Online"
                | "Record"
                | "DeviceName"
                | "Manufacturer"
                | "Model"
                | "Firmware"
                | "Channel"
        ),
        Place::Item | Place::ItemInfo => matches!(
            name,
            "DeviceID"
                | "Name"
                | "Manufacturer"
                | "Model"
                | "Owner"
                | "CivilCode"
                | "Address"
                | "ParentID"
                | "BusinessGroupID"
                | "Parental"
                | "Secrecy"
                | "Status"
                | "Longitude"
                | "Latitude"
                | "PTZType"
        ),
        Place::Outside | Place::List | Place::Done => false,
    }
}

fn assign_item(item: &mut CatalogItem, name: &str, value: &str) {
    match name {
        "DeviceID" => item.id = value.to_owned(),
        "Name" => item.name = value.to_owned(),
        "Manufacturer" => item.manufacturer = value.to_owned(),
        "Model" => item.model = value.to_owned(),
        "Owner" => item.owner = value.to_owned(),
        "CivilCode" => item.civil_code = value.to_owned(),
        "Address" => item.address = value.to_owned(),
        "ParentID" => item.parent_id = value.to_owned(),
        "BusinessGroupID" => item.business_group_id = value.to_owned(),
        "Parental" => item.parental = value == "1",
        "Secrecy" => item.secrecy = value == "1",
        "Status" => item.online = value.is_empty() || is_on(value),
        "Longitude" => item.longitude = degrees(value, 180.0),
        "Latitude" => item.latitude = degrees(value, 90.0),
        "PTZType" => item.ptz_type = value.parse().unwrap_or(0),
        _ => {}
    }
}

/// An item of a directory from its element; `id` is its code.
pub fn catalog_item(id: &str, from: &Element) -> CatalogItem {
    let mut item = CatalogItem {
        online: true,
        ..CatalogItem::default()
    };
    let info = from.child("Info").map_or(&[][..], |info| &info.children);
    for child in from.children.iter().chain(info) {
        assign_item(&mut item, &child.name, child.text());
    }
    item.id = id.to_owned();
    item
}

/// The words by which devices say yes: ON and OFF by the standard, and what else they use.
fn is_on(value: &str) -> bool {
    ["ON", "OK", "ONLINE", "1", "TRUE"]
        .iter()
        .any(|yes| value.eq_ignore_ascii_case(yes))
}

fn degrees(value: &str, max: f64) -> Option<f64> {
    value
        .parse::<f64>()
        .ok()
        .filter(|d| d.is_finite() && d.abs() <= max)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
