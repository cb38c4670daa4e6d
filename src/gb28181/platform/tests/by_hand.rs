//! Answers to INVITE as odd devices give them, written by hand.

use super::*;

#[test]
fn provisional_answers_are_told_and_a_repeated_answer_is_acknowledged_again() {
    let mut net = by_hand("IP Camera");
    net.invite(1, MediaTransport::Udp);
    let invite = net.sent(Method::Invite);
    assert_eq!(
        invite.header_str(HeaderName::Subject),
        Some("34020000001320010001:0100000001,34020000002000000001:0")
    );
    net.answer(&invite, "100 Trying", "", "");
    net.answer(&invite, "101 Dialog Establishement", "a", "");
    net.answer(&invite, "200 OK", "a", ANSWER);
    let ack = net.sent(Method::Ack);
    assert_eq!(ack.to_tag(), Some("a"));
    net.answer(&invite, "200 OK", "a", ANSWER);
    assert_eq!(net.sent(Method::Ack).to_tag(), Some("a"));
    let progress: Vec<u16> = net
        .events
        .iter()
        .filter_map(|(_, e)| match e {
            Event::InviteProgress { status, .. } => Some(*status),
            _ => None,
        })
        .collect();
    assert_eq!(progress, [100, 101]);
    assert_eq!(net.told(1), ["answered Udp"]);
}

#[test]
fn a_second_branch_is_hung_up_and_the_first_stays() {
    let mut net = by_hand("IP Camera");
    net.invite(1, MediaTransport::Udp);
    let invite = net.sent(Method::Invite);
    net.answer(&invite, "200 OK", "a", ANSWER);
    assert_eq!(net.sent(Method::Ack).to_tag(), Some("a"));
    net.answer(&invite, "200 OK", "b", ANSWER);
    assert_eq!(net.sent(Method::Ack).to_tag(), Some("b"));
    assert_eq!(net.sent(Method::Bye).to_tag(), Some("b"));
    assert_eq!(net.told(1), ["answered Udp"]);
    assert_eq!(net.platform.gauges().invites, 1);
}

#[test]
fn an_answer_that_does_not_fit_is_acknowledged_and_hung_up() {
    let mut net = by_hand("IP Camera");
    for (id, body, what) in [
        (1, String::new(), "200 OK without SDP"),
        (
            2,
            // Neither ours nor named.
            ANSWER.replace("RTP/AVP 96", "RTP/AVP 26"),
            "no payload type of our offer in the answer",
        ),
        (3, "rubbish".into(), "SDP that cannot be read"),
    ] {
        net.invite(id, MediaTransport::Udp);
        let invite = net.sent(Method::Invite);
        net.answer(&invite, "200 OK", "a", &body);
        net.sent(Method::Ack);
        let bye = net.sent(Method::Bye);
        net.answer(&bye, "200 OK", "", "");
        let failed = format!("failed BadAnswer {{ what: \"{what}\" }}");
        assert_eq!(net.told(id), [failed, "ended Us".into()]);
    }
    assert_eq!(net.platform.counters().invites_bad_answer, 3);
    assert_eq!(net.platform.purposes.len(), 0);
}

#[test]
fn a_device_known_to_answer_without_sdp_and_tag_is_believed() {
    let mut net = by_hand("GoSIP");
    net.invite(1, MediaTransport::TcpPassive);
    let invite = net.sent(Method::Invite);
    net.answer(&invite, "200 OK", "", "");
    net.sent(Method::Ack);
    assert_eq!(net.told(1), ["answered TcpPassive"]);
    net.command(Command::EndInvite { id: InviteId(1) });
    let bye = net.sent(Method::Bye);
    net.answer(&bye, "200 OK", "", "");
    assert_eq!(net.told(1), ["ended Us"]);
}

#[test]
fn a_bye_ends_only_the_dialog_whose_tags_it_has() {
    let mut net = by_hand("IP Camera");
    net.invite(1, MediaTransport::Udp);
    let invite = net.sent(Method::Invite);
    net.answer(&invite, "200 OK", "a", ANSWER);
    net.sent(Method::Ack);
    let call_id = invite.call_id().to_owned();
    let ours = invite.from_tag().expect("a tag").to_owned();
    let bye = |from_tag: &str, to_tag: &str, branch: &str| {
        format!(
            "BYE sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.3:5060;branch=z9hG4bK{branch}\r\n\
             From: <sip:{}@x>;tag={from_tag}\r\nTo: <sip:{PLATFORM_ID}@x>;tag={to_tag}\r\nCall-ID: {call_id}\r\n\
             CSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n",
            channel_id(1, 1)
        )
    };
    let from = address_of(1);
    assert_eq!(net.status(from, &bye("a", "other", "1")), 481);
    assert_eq!(net.status(from, &bye("other", &ours, "2")), 481);
    assert_eq!(net.told(1), ["answered Udp"]);
    assert_eq!(net.status(from, &bye("a", &ours, "3")), 200);
    assert_eq!(net.told(1), ["ended Device"]);
    assert_eq!(net.status(from, &bye("a", &ours, "4")), 481);
}
