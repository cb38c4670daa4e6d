//! What devices are told of our edition (GB/T 28181-2022, annex I), from the wire.

use super::*;
use crate::gb28181::device::Abilities;
use crate::gb28181::edition::Edition;
use crate::gb28181::question::{Ask, Question};
use crate::gb28181::subscribe::{Topic, Wanted};
use crate::gb28181::types::AskId;

impl Net {
    /// Method and `X-GB-Ver` of the requests that were sent to devices, in order; ACK left out.
    fn versions(&self) -> Vec<(String, Option<String>)> {
        let said = self.said.iter().cloned();
        let messages = said.filter_map(|raw| Message::parse(raw, Carrier::Datagram).ok());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        messages
            .filter(|m| m.is_request() && m.method() != Some(Method::Ack))
            .map(|m| {
                let version = m.header_named("X-GB-Ver").map(text);
                (text(m.method_text()), version)
            })
            .collect()
    }
}

/// Everything that is sent to a device: questions, a subscription, a view and its end.
fn all_that_is_said(net: &mut Net) -> Vec<(String, Option<String>)> {
    net.run(5 * S);
    let device = device_id(1);
    net.command(Command::Ask {
        id: AskId(1),
        device,
        target: channel_id(1, 1).0,
        ask: Box::new(Ask::Query(Question::DeviceStatus)),
    });
    let wanted = Wanted::new(Topic::Alarm);
    net.command(Command::Subscribe { device, wanted });
    net.invite(1, MediaTransport::Udp);
    net.run(5 * S);
    net.command(Command::EndInvite { id: InviteId(1) });
    net.run(5 * S);
    net.versions()
}

#[test]
fn a_device_that_names_its_edition_hears_ours_in_every_request() {
    for edition in [Edition::Y2011, Edition::Y2016, Edition::Y2022] {
        let mut net = Net::new(config());
        let abilities = Abilities {
            edition,
            ..Abilities::default()
        };
        net.add(device::Config {
            abilities: Arc::new(abilities),
            ..device_config(1, 2)
        });
        let said = all_that_is_said(&mut net);
        for method in ["MESSAGE", "SUBSCRIBE", "INVITE", "BYE"] {
            assert!(said.iter().any(|(m, _)| m == method), "{method}: {said:?}");
        }
        for (method, version) in &said {
            assert_eq!(version.as_deref(), Some("3.0"), "{method} to {edition:?}");
        }
    }
}

/// Of the editions before 2022 no device knows the header, and one that never named an edition may be of those.
#[test]
fn a_device_that_names_no_edition_gets_requests_as_they_always_were() {
    let mut net = Net::new(config());
    net.command(Command::SetAuth {
        device: device_id(1),
        auth: DeviceAuth::NotNeeded,
    });
    let id = device_id(1).to_string();
    let text = request("REGISTER", &id, address_of(1), "r1", "");
    let text = text.replace("CSeq: 1", "Expires: 3600\r\nCSeq: 1");
    let answer = net.raw(address_of(1), &text).expect("an answer");
    assert_eq!(answer.status(), Some(200));
    assert_eq!(answer.header_named("X-GB-Ver"), Some(&b"3.0"[..]));
    let said = all_that_is_said(&mut net);
    assert!(said.iter().any(|(m, _)| m == "MESSAGE"), "{said:?}");
    assert!(
        said.iter().all(|(_, version)| version.is_none()),
        "{said:?}"
    );
}
