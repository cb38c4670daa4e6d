//! What the platform counts. Plain numbers since the start; the shell reads them for `/metrics`.

use super::gb35114::Refusal;

/// Cumulative counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// REGISTER that was let in, with Expires over 0.
    pub registers_ok: u64,
    /// Answered with 401, a first time or because the nonce was old.
    pub registers_challenged: u64,
    /// Answered with 401 because the password was wrong.
    pub registers_wrong: u64,
    /// Answered with 403: too many wrong passwords, no password set, or still paused.
    pub registers_refused: u64,
    pub unregisters: u64,
    /// What GB 35114 devices sent and was refused, by [`Refusal::index`].
    pub gm_refused: [u64; Refusal::ALL.len()],
    /// REGISTER refused with 503 because the table of devices is full.
    pub registers_no_room: u64,
    pub keepalives: u64,
    /// Devices that came back with a keepalive instead of a REGISTER.
    pub revived: u64,
    pub offline_unregistered: u64,
    pub offline_expired: u64,
    pub offline_missed: u64,
    /// Requests of somebody who is not registered, answered with 403.
    pub strangers: u64,
    /// Requests in a device's name from an address it did not register from, answered with 403.
    pub impostors: u64,
    /// Requests without a readable device code, answered with 400.
    pub malformed_id: u64,
    /// SIP that could not be read.
    pub malformed_sip: u64,
    /// MANSCDP bodies answered with 400: no XML, no command, too long.
    pub malformed_xml: u64,
    /// SDP answers that could not be used.
    pub malformed_sdp: u64,
    /// Bodies with bytes of no charset, or NUL.
    pub xml_charset_flaws: u64,
    /// Places in bodies where the markup was damaged.
    pub xml_repairs: u64,
    /// Catalog items without an id.
    pub xml_unusable_items: u64,
    /// Bodies that were cut at a bound of ours.
    pub xml_truncated: u64,
    /// Commands that are not of the standard; answered with 200.
    pub unknown_cmd_type: u64,
    /// Commands of the standard that nothing here acts on; answered with 200.
    pub unhandled_cmd_type: u64,
    /// Requests of a method that devices have no business with, answered with 405.
    pub method_not_allowed: u64,
    /// Requests for a dialog that does not exist, answered with 481.
    pub no_dialog: u64,
    /// Orders and questions that somebody waits for.
    pub asks_sent: u64,
    pub asks_answered: u64,
    /// Refused, unanswered, or answered with nothing that can be used.
    pub asks_failed: u64,
    /// Not even sent: device unknown, offline, or at a bound.
    pub asks_not_sent: u64,
    /// Answers that nobody waited for (any more).
    pub answers_foreign: u64,
    /// Alarms, positions and the like, by MESSAGE or NOTIFY.
    pub notices: u64,
    /// Of these, what did not say what it must.
    pub malformed_notices: u64,
    pub notifies: u64,
    pub subscribes_sent: u64,
    pub subscribes_unanswered: u64,
    pub subscriptions_made: u64,
    /// By a device, or at a bound of ours.
    pub subscriptions_refused: u64,
    pub queries_sent: u64,
    /// Queries that no SIP answer or no MANSCDP answer came to.
    pub queries_unanswered: u64,
    /// Requests for a key frame that were sent.
    pub key_frames_asked: u64,
    pub catalogs_whole: u64,
    pub catalogs_partial: u64,
    /// Catalog messages that belonged to no question.
    pub catalog_pages_foreign: u64,
    pub invites_sent: u64,
    pub invites_answered: u64,
    pub invites_rejected: u64,
    pub invites_no_answer: u64,
    pub invites_bad_answer: u64,
    pub invites_cancelled: u64,
    /// Not even sent: device unknown, offline, or at a bound.
    pub invites_not_sent: u64,
    pub byes_from_device: u64,
    /// Playbacks that were stopped by TEARDOWN before BYE.
    pub teardowns_sent: u64,
    pub byes_unanswered: u64,
    /// 2xx answers that nobody waited for any more; acknowledged and ended.
    pub answers_unclaimed: u64,
    /// Answers tolerated although they have no SDP.
    pub answers_without_sdp: u64,
    /// Answers tolerated whose `y=` is missing, unreadable or another one.
    pub answers_odd_ssrc: u64,
    /// Answers tolerated whose TCP role contradicts the offer.
    pub answers_odd_role: u64,
    /// Requests of ours that could not be sent because too many are under way.
    pub send_refused: u64,
}

/// How much there is at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub devices_known: usize,
    pub devices_online: usize,
    pub invites: usize,
    pub queries_waiting: usize,
    pub queries_active: usize,
    pub catalogs_coming: usize,
    pub asks: usize,
    pub subscriptions: usize,
    pub subscriptions_active: usize,
}
