//! Whatever happens in whatever order: no panic, one reply a request, and nothing is left when all is closed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use super::*;
use MediaTransport::{TcpActive, TcpPassive, Udp};

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0.next_u32() as usize % n
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        // The newest half of the time: only they can get anywhere.
        let among = if self.below(2) == 0 { 3 } else { all.len() };
        let from = all.len().saturating_sub(among);
        (!all.is_empty()).then(|| all[from + self.below(all.len() - from)].clone())
    }
}

/// All ids that were ever there: late and repeated events name the dead as often as the living.
#[derive(Default)]
struct Seen {
    invites: Vec<Invite>,
    streams: Vec<StreamId>,
    sessions: Vec<SessionId>,
    asked: Vec<RequestId>,
}

fn collect(rig: &mut Rig, seen: &mut Seen) {
    seen.invites.append(&mut rig.invites);
    for command in &rig.media {
        if let MediaCommand::OpenIngest { stream, .. } = command
            && !seen.streams.contains(stream)
        {
            seen.streams.push(*stream);
        }
    }
    for result in rig.replies.values() {
        if let Ok(Reply::Opened(opened)) = result
            && !seen.sessions.contains(&opened.session)
        {
            seen.sessions.push(opened.session);
        }
    }
}

fn progress(dice: &mut Dice) -> Progress {
    match dice.below(10) {
        0 => Progress::Connected,
        1 => Progress::ConnectFailed,
        2 => Progress::ForeignSsrc {
            seen: Ssrc(200_000_000 + dice.below(20_000) as u32),
        },
        3 => Progress::ForeignSsrc {
            seen: Ssrc(dice.below(3) as u32),
        },
        4 => Progress::FirstRtp,
        5 => Progress::FirstPs,
        6 => Progress::UnsupportedCodec { stream_type: 0x80 },
        7 => Progress::Stalled,
        _ => Progress::Live { tracks: Vec::new() },
    }
}

fn failure(dice: &mut Dice) -> InviteFailure {
    match dice.below(6) {
        0 => InviteFailure::NoAnswer,
        1 => InviteFailure::Rejected {
            status: 488,
            reason: String::new(),
        },
        2 => InviteFailure::Rejected {
            status: 500,
            reason: String::new(),
        },
        3 => InviteFailure::BadAnswer { what: "random" },
        4 => InviteFailure::DeviceOffline,
        _ => InviteFailure::TooMany,
    }
}

fn command(dice: &mut Dice, seen: &Seen) -> Command {
    let names = ["a", "b", "c"];
    let name = || names[0].parse().expect("a name");
    match dice.below(12) {
        0..=4 => open_of(device(1 + dice.below(3) as u32), dice.below(4) as u32),
        5 | 6 => Command::Open {
            target: Target::Named(
                dice.pick(&names)
                    .map_or_else(name, |n| n.parse().expect("a name")),
            ),
            kind: ViewKind::HttpFmp4,
            owner: Owner {
                token_id: dice.below(3) as u64,
                ..Owner::default()
            },
        },
        7 | 8 => Command::Close {
            session: dice.pick(&seen.sessions).unwrap_or(SessionId(0)),
        },
        9 => Command::CloseOwner {
            token_id: dice.below(3) as u64,
        },
        10 => Command::OpenIngest {
            name: dice
                .pick(&names)
                .map_or_else(name, |n| n.parse().expect("a name")),
            ssrc: (dice.below(2) == 0).then(|| Ssrc(dice.below(3) as u32)),
            transport: [Udp, TcpPassive, TcpActive][dice.below(3)],
            remote: Some(peer()),
            payloads: Default::default(),
            loss: LossChoice::Auto,
        },
        _ => Command::CloseIngest {
            name: dice
                .pick(&names)
                .map_or_else(name, |n| n.parse().expect("a name")),
        },
    }
}

fn step(rig: &mut Rig, dice: &mut Dice, seen: &mut Seen) {
    match dice.below(12) {
        0..=2 => {
            let command = command(dice, seen);
            let request = rig.ask(command);
            seen.asked.push(request);
        }
        3 | 4 => {
            if let Some(invite) = dice.pick(&seen.invites) {
                let ssrc = (dice.below(3) == 0).then(|| Ssrc(dice.below(4) as u32));
                rig.answer(invite.id, ssrc, invite.transport);
            }
        }
        5 => {
            if let Some(invite) = dice.pick(&seen.invites) {
                let failure = failure(dice);
                rig.gb(Gb::InviteFailed {
                    id: invite.id,
                    failure,
                });
            }
        }
        6 => {
            if let Some(invite) = dice.pick(&seen.invites) {
                let by = [EndedBy::Us, EndedBy::Device, EndedBy::Lost][dice.below(3)];
                rig.gb(Gb::InviteEnded { id: invite.id, by });
            }
        }
        7 | 8 => {
            if let Some(stream) = dice.pick(&seen.streams) {
                let progress = progress(dice);
                rig.progress(stream, progress);
            }
        }
        9 => {
            if let Some(session) = dice.pick(&seen.sessions) {
                match dice.below(2) {
                    0 => rig.claim(session),
                    _ => rig.media(MediaEvent::ViewerClosed { session }),
                }
            }
        }
        10 => {
            let n = 1 + dice.below(3) as u32;
            match dice.below(2) {
                0 => rig.go(device(n)),
                _ => rig.come(device(n), 4),
            }
        }
        _ => {
            let time = ms(dice.below(4_000) as u64);
            rig.pass(time);
        }
    }
    collect(rig, seen);
}

#[test]
fn nothing_is_left_behind() {
    let (mut live, mut fallbacks_live, mut adopted) = (0, 0, 0);
    for seed in 0..200 {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
        let mut rig = Rig::new();
        rig.come(device(2), 4);
        let mut seen = Seen::default();
        for _ in 0..600 {
            step(&mut rig, &mut dice, &mut seen);
            let gauges = rig.core.gauges();
            let ingests = rig.open_ingests();
            assert_eq!(ingests.len(), gauges.streams, "seed {seed}");
            let load: u32 = rig.core.load.iter().sum();
            assert_eq!(load as usize, gauges.streams);
            assert!(rig.core.by_invite.len() <= gauges.streams);
            assert!(rig.core.by_stream.len() == gauges.streams);
        }
        for s in ["a", "b", "c"] {
            let name = s.parse().expect("a name");
            let request = rig.ask(Command::CloseIngest { name });
            seen.asked.push(request);
        }
        for n in 1..=3 {
            rig.go(device(n));
        }
        rig.pass(Duration::from_secs(60));
        for request in &seen.asked {
            assert!(
                rig.replies.contains_key(request),
                "seed {seed}: {request:?} has no reply"
            );
        }
        rig.assert_empty();
        let counters = rig.core.counters();
        live += counters.live;
        fallbacks_live += counters.fallbacks_live;
        adopted += counters.ssrc_adopted;
    }
    // The walk is worth something only if it comes to these places.
    assert!(live > 500, "{live}");
    assert!(fallbacks_live > 3, "{fallbacks_live}");
    assert!(adopted > 3, "{adopted}");
}
