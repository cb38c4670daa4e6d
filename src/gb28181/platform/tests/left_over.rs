//! Dialogs that a run before this one left behind: they end at once at devices that can be reached, and at the others once they
//! are back.

use super::*;
use crate::limits::INVITES_MAX;
use crate::sip::ConnId;

/// A dialog of the first device as the store keeps it.
fn kept_dialog() -> String {
    let mut net = Net::with_device(config(), 1);
    net.invite(1, MediaTransport::Udp);
    net.run(S);
    let kept = net.take_events().into_iter().find_map(|event| match event {
        Event::Persist(Persist::DialogBegun { dialog, .. }) => Some(dialog),
        _ => None,
    });
    kept.expect("a dialog of the view")
}

/// A platform that has started again and knows the first device, with its clock of now.
fn started_again(over_tcp: bool) -> Net {
    let mut net = Net::new(config());
    let known = StoredDevice {
        over_tcp,
        ..stored(1, &net, true, 3600)
    };
    net.command(Command::Restore(known));
    net
}

impl Net {
    fn left_over(&mut self, dialog: &str) {
        let (device, dialog) = (device_id(1), dialog.to_owned());
        self.command(Command::EndLeftOver { device, dialog });
    }

    fn byes(&self) -> usize {
        let said = self.said.iter();
        said.filter(|raw| raw.starts_with(b"BYE ")).count()
    }

    /// Dialogs that the store was told to forget.
    fn forgotten(&mut self) -> usize {
        let events = self.take_events().into_iter();
        let over = events.filter(|e| matches!(e, Event::Persist(Persist::DialogOver { .. })));
        over.count()
    }
}

#[test]
fn a_dialog_left_over_ends_at_once_where_the_device_can_be_reached() {
    let dialog = kept_dialog();
    let mut net = started_again(false);
    net.left_over(&dialog);
    assert_eq!((net.byes(), net.forgotten()), (1, 1));
    net.left_over("no dialog");
    assert_eq!((net.byes(), net.forgotten()), (1, 0));
}

#[test]
fn a_dialog_left_over_waits_for_a_device_whose_connection_is_gone() {
    let dialog = kept_dialog();
    let mut net = started_again(true);
    net.left_over(&dialog);
    net.left_over(&dialog);
    net.run(5 * S);
    assert_eq!(
        (net.byes(), net.forgotten()),
        (0, 0),
        "the store keeps them"
    );
    let path = Path {
        peer: address_of(1),
        local: platform_address(),
        transport: Transport::Tcp(ConnId(7)),
    };
    let id = device_id(1).to_string();
    let text = request("MESSAGE", &id, address_of(1), "k1", &keepalive_of(1));
    let raw = Bytes::from(text.replace("SIP/2.0/UDP", "SIP/2.0/TCP"));
    net.platform.handle_message(net.now, path, raw.clone());
    net.drain();
    assert_eq!((net.byes(), net.forgotten()), (2, 2), "it is back");
    net.platform.handle_message(net.now, path, raw);
    net.drain();
    assert_eq!(net.byes(), 2, "once");
}

#[test]
fn dialogs_that_wait_for_their_devices_have_a_bound() {
    let dialog = kept_dialog();
    let mut net = started_again(true);
    for _ in 0..INVITES_MAX {
        net.left_over(&dialog);
    }
    assert_eq!(net.forgotten(), 0);
    net.left_over(&dialog);
    assert_eq!(net.forgotten(), 1, "given up");
}
