//! One trouble at a time: a NAT that changes a port, a stranger who sends with the same SSRC, a link that is too narrow.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gantry::gb28181::MediaTransport;
use gantry::media::frame::Codec;
use gantry::media::rtp;
use gantry::media::source::REBIND_PAUSE;
use gantry::session::RequestId;

use super::clip::Clip;
use super::link::Quality;
use super::matrix::{GOP, SLACK, check};
use super::node::{Sizes, Watch};
use super::world::World;

const KEEPALIVE: Duration = Duration::from_secs(60);
const PICTURE: Duration = Duration::from_millis(40);

/// A camera on a clean link that is watched.
struct View {
    world: World,
    camera: usize,
    request: RequestId,
}

impl View {
    fn new(transport: MediaTransport, ports: Option<(u16, u16)>) -> View {
        let mut world = World::new(7, transport, KEEPALIVE, true);
        if let Some((first, last)) = ports {
            world.give_ports(first, last);
        }
        let camera = world.add_camera(&Clip::of(Codec::H264), Quality::CLEAN);
        world.power_on(camera);
        world.run_for(Duration::from_secs(2));
        let request = world.watch(camera).expect("a node");
        world.run_for(Duration::from_secs(1));
        let view = View {
            world,
            camera,
            request,
        };
        assert!(view.watch().opened_at.is_some());
        view
    }

    fn watch(&self) -> &Watch {
        &self.world.node.as_ref().expect("a node").watches[&self.request]
    }

    /// When each picture came, and whether it follows the one before; none may be undecodable.
    fn seen(&self, what: &str) -> Vec<(Instant, bool)> {
        check(what, &self.world.cameras[self.camera].clip, self.watch())
    }

    /// Nothing is missing from the first picture to now, and it is still the same session.
    fn is_whole(&self, what: &str) {
        let seen = self.seen(what);
        let holes = seen.iter().skip(1).filter(|(_, follows)| !follows).count();
        assert_eq!(holes, 0, "{what}");
        let (last, _) = seen.last().expect("pictures came");
        assert!(
            self.world.now - *last <= 3 * PICTURE,
            "{what}: it stands still"
        );
        assert_eq!(self.watch().closed_at, None, "{what}");
    }

    fn source_moves(&self) -> (u64, u64) {
        self.world.node.as_ref().expect("a node").source_moves()
    }

    fn packets_lost(&mut self) -> u64 {
        let now = self.world.now;
        self.world.node.as_mut().expect("a node").packets_lost(now)
    }
}

#[test]
fn the_picture_goes_on_when_a_nat_changes_the_port() {
    for ports in [None, Some((40_000, 40_099))] {
        let what = format!("ports {ports:?}");
        let mut view = View::new(MediaTransport::Udp, ports);
        for _ in 0..2 {
            let before = view.world.cameras[view.camera].public;
            view.world.rebind(view.camera);
            assert_ne!(view.world.cameras[view.camera].public, before);
            view.world.run_for(REBIND_PAUSE + Duration::from_secs(1));
            view.is_whole(&what);
        }
        assert_eq!(view.source_moves(), (2, 0), "{what}");
        // The next keepalive says where the camera speaks from, so it can be told that nobody watches any more.
        view.world.run_for(KEEPALIVE + Duration::from_secs(5));
        view.is_whole(&what);
        view.world.leave(view.request);
        view.world.run_for(Duration::from_secs(30));
        assert!(view.world.cameras[view.camera].views.is_empty(), "{what}");
        let node = view.world.node.as_ref().expect("a node");
        assert_eq!(node.sizes(), Sizes::default(), "{what}");
    }
}

#[test]
fn a_rebinding_amid_loss_costs_no_more_than_the_loss() {
    let mut view = View::new(MediaTransport::Udp, None);
    let lossy = Quality {
        loss: 0.01,
        burst: 3.0,
        reorder: 0.05,
        jitter: Duration::from_millis(5),
        ..Quality::CLEAN
    };
    view.world.set_media(lossy);
    for _ in 0..5 {
        view.world.rebind(view.camera);
        view.world.run_for(REBIND_PAUSE + Duration::from_secs(1));
    }
    view.world.set_media(Quality::CLEAN);
    let ended = view.world.now;
    view.world.run_for(2 * GOP);
    assert!(view.world.media_lost(view.camera) > 0);
    assert_eq!(view.source_moves().0, 5);
    is_back(&view.seen("rebindings amid loss"), ended, view.world.now);
}

#[test]
fn a_stranger_who_knows_the_ssrc_is_not_mixed_in() {
    for ports in [None, Some((40_000, 40_099))] {
        let what = format!("ports {ports:?}");
        let mut view = View::new(MediaTransport::Udp, ports);
        let sent = &view.world.cameras[view.camera].views[0];
        let (offer, first) = (sent.offer, sent.first_sequence);
        let stranger = SocketAddr::from(([198, 51, 100, 7], 9_000));
        // Numbers far from those of the camera, and a picture of its own.
        let mut forged = [15_000_u16, 30_000, 45_000].map(|apart| {
            let first = first.wrapping_add(apart);
            rtp::Writer::new(offer.ssrc, offer.payload_type, first)
        });
        let picture = [
            &[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0, 0, 0, 1, 0x65][..],
            &[7; 900],
        ]
        .concat();
        for n in 0..50 {
            for writer in &mut forged {
                writer.write(&picture, n * 3_600, 1_400, &mut |packet| {
                    view.world
                        .inject(stranger, offer.remote.port(), packet.to_vec());
                });
            }
            view.world.run_for(PICTURE);
        }
        view.is_whole(&what);
        assert_eq!(view.source_moves(), (0, 150), "{what}");
    }
}

/// From one group of pictures after the trouble on nothing is missing.
fn is_back(seen: &[(Instant, bool)], ended: Instant, now: Instant) {
    let after: Vec<_> = seen
        .iter()
        .filter(|(at, _)| *at > ended + GOP + SLACK)
        .collect();
    let wanted = (now - ended - GOP - SLACK).as_millis() / PICTURE.as_millis();
    assert!(
        after.len() as u128 + 2 >= wanted && after.iter().all(|(_, follows)| *follows),
        "{} of {wanted} pictures",
        after.len()
    );
}

/// Bytes a second that the clip needs.
fn mean_rate(view: &View) -> u64 {
    let clip = &view.world.cameras[view.camera].clip;
    let bytes: usize = clip.pictures.iter().map(|p| p.payload.len()).sum();
    bytes as u64 * clip.per_second / clip.pictures.len() as u64
}

#[test]
fn a_link_that_is_too_narrow_costs_pictures_until_it_is_wide_again() {
    let mut view = View::new(MediaTransport::Udp, None);
    let mean = mean_rate(&view);
    let of_rate = |rate| Quality {
        rate: Some(rate),
        queue_max: Duration::from_millis(300),
        ..Quality::CLEAN
    };
    view.world.set_media(of_rate(mean * 6));
    view.world.run_for(3 * GOP);
    assert_eq!(
        (view.world.media_lost(view.camera), view.packets_lost()),
        (0, 0)
    );
    view.is_whole("a link that is wide enough");

    view.world.set_media(of_rate(mean / 2));
    view.world.run_for(3 * GOP);
    let (lost, missed) = (view.world.media_lost(view.camera), view.packets_lost());
    assert!(
        lost > 0 && missed > 0,
        "{lost} packets lost, {missed} missed"
    );
    view.world.set_media(Quality::CLEAN);
    let ended = view.world.now;
    view.world.run_for(3 * GOP);
    assert!(view.packets_lost() <= view.world.media_lost(view.camera));
    let seen = view.seen("a narrow link");
    assert!(seen.iter().skip(1).any(|(_, follows)| !follows), "it shows");
    is_back(&seen, ended, view.world.now);
    assert_eq!(view.watch().closed_at, None);
    println!(
        "{mean} bytes a second wanted: {lost} packets lost on half of it, {} pictures came",
        seen.len()
    );
}

#[test]
fn over_tcp_a_narrow_link_delays_and_loses_nothing() {
    let mut view = View::new(MediaTransport::TcpPassive, None);
    let mean = mean_rate(&view);
    let began = view.watch().pictures.len();
    view.world.set_media(Quality {
        rate: Some(mean * 7 / 10),
        ..Quality::CLEAN
    });
    view.world.run_for(3 * GOP);
    let came = view.watch().pictures.len() - began;
    assert!((30..65).contains(&came), "{came} of 75 pictures");
    view.world.set_media(Quality::CLEAN);
    view.world.run_for(3 * GOP);
    view.is_whole("a narrow link over TCP");
    let came = view.watch().pictures.len() - began;
    assert!(came >= 147, "{came} of 150 pictures");
}
