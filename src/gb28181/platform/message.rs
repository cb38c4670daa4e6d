//! MESSAGE and NOTIFY from devices, and the queries we send (GB/T 28181-2016, 9.4 to 9.6, annex A).
//!
//! A message of a device that is registered, or known and only silent, is a sign of life whatever it holds. One of an
//! unknown or unregistered device gets 403, so that the device registers again.

use std::time::Instant;

use super::register::device_of;
use super::{Platform, Purpose, uri_at};
use crate::gb28181::answer::Answer;
use crate::gb28181::catalog::{Assembly, Pushed};
use crate::gb28181::edition::Edition;
use crate::gb28181::manscdp::tree::tree;
use crate::gb28181::manscdp::{self, Body, CatalogPage, CmdType, Flaws, Root, encode};
use crate::gb28181::notice::{FILE_ENDED, Notice};
use crate::gb28181::query::{Query, QueryKind};
use crate::gb28181::registrar::{Sender, Slot};
use crate::gb28181::types::{Event, InviteId};
use crate::id::{ChannelId, DeviceId, GbId};
use crate::limits::{CATALOG_ITEMS_HELD_MAX, CATALOGS_COMING_MAX};
use crate::sip::{Incoming, Method, Request, Response};

pub(super) const MANSCDP: &str = "Application/MANSCDP+xml";

impl Platform {
    pub(super) fn on_message(&mut self, now: Instant, incoming: &Incoming) {
        let Some(slot) = self.admit_request(now, incoming) else {
            return;
        };
        let message = match manscdp::parse(incoming.message.body()) {
            Ok(message) => message,
            Err(error) => {
                self.counters.malformed_xml += 1;
                let device = self.registrar.get(slot).id;
                tracing::debug!(%device, peer = %incoming.path.peer, %error, "malformed MANSCDP");
                return self.respond(now, incoming, Response::new(400));
            }
        };
        self.respond(now, incoming, Response::new(200));
        self.count_flaws(message.flaws);
        let device = self.registrar.get(slot).id;
        match (message.cmd, message.body) {
            (CmdType::Unknown, _) => {
                self.counters.unknown_cmd_type += 1;
                tracing::debug!(%device, "unknown CmdType");
            }
            // Of a dialog that we had before a restart: it must not end one of now.
            (CmdType::MediaStatus, _) if self.is_of_another_dialog(incoming) => {
                self.counters.no_dialog += 1;
            }
            (_, Body::Keepalive { .. }) => self.counters.keepalives += 1,
            (_, Body::Catalog(page)) if message.root == Root::Response => {
                self.catalog_page(now, slot, message.sn, page);
            }
            (_, Body::DeviceInfo(info)) => {
                self.queries.take(slot, QueryKind::DeviceInfo);
                self.event(Event::DeviceInfo {
                    device,
                    info: *info,
                });
            }
            (cmd, Body::DeviceStatus { online, recording }) => {
                self.queries.take(slot, QueryKind::DeviceStatus);
                self.response_told(now, slot, cmd, message.sn, incoming.message.body());
                self.event(Event::DeviceStatus {
                    device,
                    online,
                    recording,
                });
            }
            (cmd, Body::Plain | Body::Catalog(_)) => {
                let body = incoming.message.body();
                match message.root {
                    Root::Response => self.response_told(now, slot, cmd, message.sn, body),
                    Root::Notify => {
                        let view = self.view_of(&incoming.message);
                        self.notice_told(now, slot, (cmd, message.sn, message.device), body, view);
                    }
                    Root::Query | Root::Control | Root::Other => {
                        self.counters.unhandled_cmd_type += 1;
                    }
                }
            }
        }
    }

    /// The answer to a question or order, if somebody waits for one.
    fn response_told(
        &mut self,
        now: Instant,
        slot: Slot,
        cmd: CmdType,
        sn: Option<u32>,
        body: &[u8],
    ) {
        let taken = tree(body).is_ok_and(|body| self.answered_ask(now, slot, cmd, sn, &body));
        // The status may have been asked for by the queue of queries.
        if !taken && cmd != CmdType::DeviceStatus {
            self.counters.answers_foreign += 1;
        }
    }

    /// A notification by MESSAGE. An alarm has an answer of its own (2016, 9.4.2).
    fn notice_told(
        &mut self,
        now: Instant,
        slot: Slot,
        (cmd, sn, about): (CmdType, Option<u32>, Option<GbId>),
        body: &[u8],
        view: Option<InviteId>,
    ) {
        let Ok(body) = tree(body) else {
            self.counters.malformed_notices += 1;
            return;
        };
        if cmd == CmdType::MobilePosition {
            self.position_told(now, slot, &body);
        }
        if cmd == CmdType::Alarm {
            self.acknowledge_alarm(now, slot, sn, about);
        }
        match Notice::read(cmd, &body) {
            Ok(Some(Notice::MediaStatus {
                notify_type: FILE_ENDED,
            })) => self.file_ended(slot, about, view),
            Ok(Some(notice)) => self.notified(slot, about, notice),
            Ok(None) => self.counters.unhandled_cmd_type += 1,
            Err(bad) => {
                self.counters.malformed_notices += 1;
                let device = self.registrar.get(slot).id;
                tracing::debug!(%device, cmd = cmd.name(), %bad, "a notification cannot be read");
            }
        }
    }

    /// It was sent inside of a dialog, and that is none of ours.
    fn is_of_another_dialog(&self, incoming: &Incoming) -> bool {
        incoming.message.to_tag().is_some() && self.view_of(&incoming.message).is_none()
    }

    /// MediaStatus 121. By the standard it comes inside of the dialog; many devices send it outside of any.
    fn file_ended(&mut self, slot: Slot, about: Option<GbId>, invite: Option<InviteId>) {
        self.counters.notices += 1;
        let device = self.registrar.get(slot).id;
        if let Some(view) = invite {
            self.file_of_view_ended(view);
        }
        self.event(Event::FileEnded {
            device,
            invite,
            about,
        });
    }

    pub(super) fn notified(&mut self, slot: Slot, about: Option<GbId>, notice: Notice) {
        self.counters.notices += 1;
        let device = self.registrar.get(slot).id;
        let notice = Box::new(notice);
        self.event(Event::Notified {
            device,
            about,
            notice,
        });
    }

    fn acknowledge_alarm(
        &mut self,
        now: Instant,
        slot: Slot,
        sn: Option<u32>,
        about: Option<GbId>,
    ) {
        let device = self.registrar.get(slot);
        let Some(path) = device.path else { return };
        let about = about.unwrap_or(device.id.0);
        let charset = device.quirks.charset();
        let uri = uri_at(device.id.0, path.peer);
        let body = encode::document(
            Root::Response,
            CmdType::Alarm,
            sn.unwrap_or(0),
            about,
            charset,
            |out| Answer::Done.write(out),
        );
        let request = Request::new(Method::Message, uri.as_str())
            .from(self.own_address())
            .to(format!("<{uri}>"))
            .body(MANSCDP, body);
        self.send(now, path, request, Purpose::Acknowledgement);
    }

    /// Finds the registered device that a request speaks for, or answers the request.
    pub(super) fn admit_request(&mut self, now: Instant, incoming: &Incoming) -> Option<Slot> {
        let peer = incoming.path.peer;
        let Some(device) = device_of(&incoming.message) else {
            self.counters.malformed_id += 1;
            let response = Response::new(400).reason("No device code in From");
            self.refuse(incoming, response);
            return None;
        };
        // Inside of a dialog of ours it speaks as the channel that was invited or subscribed to.
        let slot = self
            .registrar
            .find(device)
            .or_else(|| self.invites.device_of(incoming.message.call_id()))
            .or_else(|| self.subscribed_at(incoming));
        if let Some(slot) = slot {
            if self.registrar.sender(slot, &incoming.path) == Sender::Impostor {
                self.counters.impostors += 1;
                tracing::debug!(%device, %peer, "request from another address than the device's");
                self.refuse(incoming, Response::new(403));
                return None;
            }
            if let Err(why) = self.check_note(now, slot, &incoming.message) {
                self.not_proven(now, device, incoming, why);
                return None;
            }
            if self.heard_from(now, slot, incoming.path) {
                self.earned = 1;
                return Some(slot);
            }
        }
        self.counters.strangers += 1;
        tracing::debug!(%device, %peer, "request of a device that is not registered");
        let response = Response::new(403).reason("Not registered");
        self.refuse(incoming, response);
        None
    }

    pub(super) fn count_flaws(&mut self, flaws: Flaws) {
        let counters = &mut self.counters;
        counters.xml_charset_flaws += u64::from(flaws.charset);
        counters.xml_repairs += u64::from(flaws.repairs);
        counters.xml_unusable_items += u64::from(flaws.unusable_items);
        counters.xml_truncated += u64::from(flaws.truncated);
    }

    pub(super) fn send_query(&mut self, now: Instant, query: Query) {
        let device = self.registrar.get(query.slot);
        let Some(path) = device.path.filter(|_| device.is_online()) else {
            self.queries.take(query.slot, query.kind);
            return self.report_unanswered(now, device.id, query.kind);
        };
        let id = device.id.0;
        let charset = device.quirks.charset();
        let uri = uri_at(id, path.peer);
        let request = Request::new(Method::Message, uri.as_str())
            .from(self.own_address())
            .to(format!("<{uri}>"))
            .body(
                MANSCDP,
                encode::query(query.kind.cmd(), query.sn, id, charset),
            );
        let purpose = Purpose::Query(query.slot, query.kind);
        if self.send(now, path, request, purpose).is_some() {
            self.counters.queries_sent += 1;
        } else if let Some(query) = self.queries.take(query.slot, query.kind) {
            self.unanswered(now, query);
        }
    }

    /// Asks a channel for a key frame. Whether the device knows the command shows in the picture, so its answer means
    /// nothing.
    pub(super) fn request_key_frame(&mut self, now: Instant, id: DeviceId, channel: ChannelId) {
        let Some(slot) = self.registrar.find(id) else {
            return;
        };
        let device = self.registrar.get(slot);
        let Some(path) = device.path.filter(|_| device.is_online()) else {
            return;
        };
        let charset = device.quirks.charset();
        let edition = device.gb_version.as_deref();
        let edition = edition.and_then(Edition::from_version);
        let is_2022 = edition.is_some_and(|edition| edition >= Edition::Y2022);
        let sn = self.queries.take_number();
        let uri = uri_at(channel.0, path.peer);
        let request = Request::new(Method::Message, uri.as_str())
            .from(self.own_address())
            .to(format!("<{uri}>"))
            .body(MANSCDP, encode::key_frame(sn, channel.0, is_2022, charset));
        if self
            .send(now, path, request, Purpose::KeyFrame(slot))
            .is_some()
        {
            self.counters.key_frames_asked += 1;
        }
    }

    /// A question that no answer came to, or that was refused.
    pub(super) fn unanswered(&mut self, now: Instant, query: Query) {
        self.counters.queries_unanswered += 1;
        let device = self.registrar.get(query.slot);
        let (id, online) = (device.id, device.is_online());
        match query.kind {
            QueryKind::Catalog if query.attempt == 0 && online => {
                self.queries.ask(query.slot, query.kind, 1, false);
            }
            QueryKind::Catalog | QueryKind::DeviceInfo | QueryKind::DeviceStatus => {
                self.report_unanswered(now, id, query.kind);
            }
        }
    }

    /// Whoever waits for a directory learns that none came. The other answers are events only if they come.
    pub(super) fn report_unanswered(&mut self, now: Instant, device: DeviceId, kind: QueryKind) {
        match kind {
            QueryKind::Catalog => {
                let coming = self
                    .registrar
                    .find(device)
                    .and_then(|s| self.catalogs.get(&s));
                if coming.is_none_or(|c| c.deadline() <= now) {
                    self.counters.catalogs_partial += 1;
                    self.event(Event::Catalog {
                        device,
                        channels: Vec::new(),
                        partial: true,
                    });
                }
            }
            QueryKind::DeviceInfo | QueryKind::DeviceStatus => {}
        }
    }

    pub(super) fn catalog_page(
        &mut self,
        now: Instant,
        slot: Slot,
        sn: Option<u32>,
        page: CatalogPage,
    ) {
        let query = self.queries.get(slot, QueryKind::Catalog);
        let attempt = query.map_or(0, |q| q.attempt);
        if query.is_some_and(|q| Some(q.sn) == sn) {
            self.queries.take(slot, QueryKind::Catalog);
            // What came unasked, or to an older question, gives way to the answer.
            self.drop_catalog(slot);
        }
        if !self.catalogs.contains_key(&slot) {
            if self.catalogs.len() >= CATALOGS_COMING_MAX {
                self.counters.catalog_pages_foreign += 1;
                return;
            }
            let assembly = Assembly::new(attempt, now, self.config.catalog_quiet);
            self.catalog_deadlines.insert((assembly.deadline(), slot));
            self.catalogs.insert(slot, assembly);
        }
        if self.catalog_items + page.items.len() > CATALOG_ITEMS_HELD_MAX {
            self.counters.xml_truncated += 1;
            return;
        }
        let assembly = self
            .catalogs
            .get_mut(&slot)
            .expect("it was put in above if it was not there");
        let (held, deadline) = (assembly.held(), assembly.deadline());
        let pushed = assembly.push(now, sn, page);
        self.catalog_items = self.catalog_items + assembly.held() - held;
        self.catalog_deadlines.remove(&(deadline, slot));
        self.catalog_deadlines.insert((assembly.deadline(), slot));
        match pushed {
            Pushed::Progress { received, total } => {
                let device = self.registrar.get(slot).id;
                self.event(Event::CatalogProgress {
                    device,
                    received,
                    total,
                });
            }
            Pushed::Complete => self.finish_catalog(slot),
            Pushed::Foreign => self.counters.catalog_pages_foreign += 1,
        }
    }

    fn drop_catalog(&mut self, slot: Slot) -> Option<Assembly> {
        let assembly = self.catalogs.remove(&slot)?;
        self.catalog_deadlines.remove(&(assembly.deadline(), slot));
        self.catalog_items -= assembly.held();
        Some(assembly)
    }

    /// Reports a directory, whole or at its deadline. One that is partial is asked for once more.
    pub(super) fn finish_catalog(&mut self, slot: Slot) {
        let Some(assembly) = self.drop_catalog(slot) else {
            return;
        };
        // A device that answers with an SN of its own has answered all the same.
        self.queries.take(slot, QueryKind::Catalog);
        let again = assembly.attempt() == 0;
        let (channels, partial) = assembly.finish();
        if partial {
            self.counters.catalogs_partial += 1;
            if again && self.registrar.get(slot).is_online() {
                self.queries.ask(slot, QueryKind::Catalog, 1, false);
            }
        } else {
            self.counters.catalogs_whole += 1;
        }
        let device = self.registrar.get(slot).id;
        self.event(Event::Catalog {
            device,
            channels,
            partial,
        });
    }
}
