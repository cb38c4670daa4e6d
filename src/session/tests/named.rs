//! Streams without SIP.

use super::*;
use crate::id::StreamName;
use MediaTransport::{TcpActive, TcpPassive, Udp};

fn name(s: &str) -> StreamName {
    s.parse().expect("a name")
}

fn ingest(s: &str, ssrc: Option<u32>) -> Command {
    Command::OpenIngest {
        name: name(s),
        ssrc: ssrc.map(Ssrc),
        transport: Udp,
        remote: None,
        payloads: Default::default(),
        loss: LossChoice::Auto,
    }
}

fn watch(rig: &mut Rig, s: &str) -> RequestId {
    rig.ask(Command::Open {
        target: Target::Named(name(s)),
        kind: ViewKind::WsFmp4,
        owner: Owner::default(),
    })
}

fn close(rig: &mut Rig, s: &str) -> Result<Reply, Error> {
    rig.call(Command::CloseIngest { name: name(s) })
}

#[test]
fn a_named_stream_lives_until_it_is_closed() {
    let mut rig = Rig::with(config());
    let Ok(Reply::Ingest {
        port: 30000,
        ssrc: None,
    }) = rig.call(ingest("cam", None))
    else {
        panic!("a port is expected")
    };
    rig.pass(Duration::from_secs(86_400));
    let request = watch(&mut rig, "cam");
    let stream = rig.last_stream();
    rig.pass(ms(1_000));
    rig.picture(stream);
    let opened = rig.opened(request);
    assert_eq!(opened.stream, stream);
    rig.claim(opened.session);
    rig.media(MediaEvent::ViewerClosed {
        session: opened.session,
    });
    rig.pass(Duration::from_secs(86_400));
    assert_eq!(rig.open_ingests(), [stream]);
    let request = watch(&mut rig, "cam");
    let opened = rig.opened(request);
    assert!(close(&mut rig, "cam").is_ok());
    assert!(rig.closed().contains(&opened.session));
    let again = close(&mut rig, "cam").map(|_| ());
    assert_eq!(again, Err(Error::NotFound { what: "stream" }));
    rig.assert_empty();
}

#[test]
fn a_name_and_an_ssrc_are_given_once() {
    let mut rig = Rig::with(config());
    assert!(rig.call(ingest("a", Some(5))).is_ok());
    let again = rig.call(ingest("a", Some(6))).map(|_| ());
    assert_eq!(again, Err(Error::Exists { what: "stream" }));
    let Ok(Reply::Ingest {
        port: 30001,
        ssrc: Some(Ssrc(5)),
    }) = rig.call(ingest("b", Some(5)))
    else {
        panic!("the other shard has it free")
    };
    let full = rig.call(ingest("c", Some(5))).map(|_| ());
    assert_eq!(full, Err(Error::Exists { what: "SSRC" }));
    assert!(close(&mut rig, "a").is_ok());
    assert!(rig.call(ingest("c", Some(5))).is_ok());
}

#[test]
fn who_waits_for_a_named_stream_is_told_what_is_missing() {
    let mut rig = Rig::with(config());
    assert!(rig.call(ingest("a", Some(5))).is_ok());
    let request = watch(&mut rig, "a");
    rig.pass(ms(9_000));
    assert_eq!(rig.failure(request), ViewFailure::NoRtp);
    let stream = rig.last_stream();
    rig.progress(stream, Progress::ForeignSsrc { seen: Ssrc(6) });
    let request = watch(&mut rig, "a");
    rig.pass(ms(9_000));
    assert_eq!(
        rig.failure(request),
        ViewFailure::ForeignSsrc { seen: Ssrc(6) }
    );
    rig.progress(stream, Progress::FirstRtp);
    let request = watch(&mut rig, "a");
    rig.pass(ms(9_000));
    assert_eq!(rig.failure(request), ViewFailure::NoProgramStream);
    let request = watch(&mut rig, "a");
    rig.progress(stream, Progress::UnsupportedCodec { stream_type: 0x80 });
    let codec = ViewFailure::UnsupportedCodec { stream_type: 0x80 };
    assert_eq!(rig.failure(request), codec, "at once");
    let request = watch(&mut rig, "a");
    rig.pass(ms(9_000));
    assert_eq!(rig.failure(request), codec);
    assert_eq!(rig.open_ingests(), [stream], "it lives on");
    assert_eq!(rig.core.counters().ssrc_adopted, 0);
}

#[test]
fn after_a_stall_the_next_sender_finds_a_fresh_ingest() {
    let mut rig = Rig::with(config());
    assert!(rig.call(ingest("a", Some(5))).is_ok());
    let first = rig.last_stream();
    rig.picture(first);
    let request = watch(&mut rig, "a");
    let opened = rig.opened(request);
    rig.claim(opened.session);
    rig.progress(first, Progress::Stalled);
    assert_eq!(rig.closed(), [opened.session]);
    let second = rig.last_stream();
    assert_ne!(first, second);
    assert_eq!(rig.open_ingests(), [second]);
    let request = watch(&mut rig, "a");
    rig.progress(first, Progress::Live { tracks: Vec::new() });
    assert!(rig.replies.is_empty(), "the old ingest is not this one");
    rig.picture(second);
    assert_eq!(rig.opened(request).stream, second);
}

#[test]
fn who_waits_stays_when_the_ingest_is_opened_anew() {
    let mut rig = Rig::with(config());
    let command = Command::OpenIngest {
        name: name("a"),
        ssrc: None,
        transport: TcpPassive,
        remote: None,
        payloads: Default::default(),
        loss: LossChoice::Auto,
    };
    assert!(rig.call(command).is_ok());
    let first = rig.last_stream();
    let request = watch(&mut rig, "a");
    // Connections that bring nothing are not the end of a listener.
    rig.progress(first, Progress::Stalled);
    assert_eq!(rig.open_ingests(), [first]);
    rig.progress(first, Progress::FirstRtp);
    rig.progress(first, Progress::Stalled);
    let second = rig.last_stream();
    assert_ne!(first, second);
    rig.picture(second);
    assert_eq!(rig.opened(request).stream, second);
}

#[test]
fn loss_of_a_source_is_met_as_was_said_also_when_it_is_opened_anew() {
    use crate::media::hold::LossPolicy;
    for (usual, choice, then) in [
        (LossPolicy::HoldBack, LossChoice::Auto, LossPolicy::HoldBack),
        (LossPolicy::Show, LossChoice::Auto, LossPolicy::Show),
        (LossPolicy::HoldBack, LossChoice::Show, LossPolicy::Show),
        (LossPolicy::Show, LossChoice::HoldBack, LossPolicy::HoldBack),
    ] {
        let mut rig = Rig::with(CoreConfig {
            loss: usual,
            ..config()
        });
        let mut command = ingest("a", None);
        if let Command::OpenIngest { loss, .. } = &mut command {
            *loss = choice;
        }
        assert!(rig.call(command).is_ok());
        rig.picture(rig.last_stream());
        rig.progress(rig.last_stream(), Progress::Stalled);
        let policies = rig.media.iter().filter_map(|c| match c {
            MediaCommand::OpenIngest { options, .. } => Some(options.loss),
            _ => None,
        });
        assert_eq!(policies.collect::<Vec<_>>(), [then; 2]);
    }
}

#[test]
fn tcp_active_tries_again() {
    let mut rig = Rig::with(config());
    let command = |remote| Command::OpenIngest {
        name: name("a"),
        ssrc: None,
        transport: TcpActive,
        remote,
        payloads: Default::default(),
        loss: LossChoice::Auto,
    };
    let bad = rig.call(command(None)).map(|_| ());
    assert!(matches!(bad, Err(Error::BadParameter { .. })));
    assert!(rig.call(command(Some(peer()))).is_ok());
    let connects = |rig: &Rig| {
        let all = rig.media.iter();
        all.filter(|c| {
            matches!(
                c,
                MediaCommand::UpdateIngest {
                    remote: Some(_),
                    ..
                }
            )
        })
        .count()
    };
    for n in 1..4 {
        assert_eq!(connects(&rig), n);
        rig.progress(rig.last_stream(), Progress::ConnectFailed);
        rig.pass(ms(4_999));
        assert_eq!(connects(&rig), n);
        rig.pass(ms(1));
    }
    assert_eq!(rig.open_ingests().len(), 1);
    assert!(close(&mut rig, "a").is_ok());
    rig.assert_empty();
}
