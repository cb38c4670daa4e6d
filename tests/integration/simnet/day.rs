//! A day of a thousand devices, with restarts of both sides, in virtual time: once with one port for all streams, and once,
//! from another seed, with ports of their own. A quarter of the devices sends over TCP that it makes, a quarter over TCP that
//! the node makes.
//!
//! `cargo test` lives through an hour and a half. The whole day is an ignored test, run by `.ci/run`:
//! `cargo test --test integration -- --ignored a_day_of_a_thousand_devices`.
//!
//! What leaks shows by comparing a node that lived for a while with one that lived eight times as long. Both are weighed at
//! rest, by what comes back when they are dropped, and both have seen as many views as a node remembers.

use std::time::{Duration, Instant};

use gantry::gb28181::MediaTransport;
use gantry::limits;
use gantry::session::RequestId;

use super::clip::Clip;
use super::link::Quality;
use super::node::{Node, Sizes};
use super::world::World;
use crate::media_allocations::bytes_held;

const KEEPALIVE: Duration = Duration::from_secs(60);
/// Between two things that happen to the world.
const STEP: Duration = Duration::from_secs(10);
/// By how much a node that lived longer may be heavier: a map keeps the size that its busiest moment needed, and a device
/// that has registered anew weighs more than one that is only remembered.
const GROWTH_MAX: f64 = 1.06;
/// Ports of streams that each have their own: a thousand pairs, of which a view takes one for its time and a minute more.
const PORTS: (u16, u16) = (40_000, 41_999);

struct Day {
    world: World,
    off: Vec<(usize, Instant)>,
    watching: Vec<(RequestId, Instant)>,
    opened: u64,
    failed: u64,
    ports_refused: u64,
    restarts: [u64; 2],
}

impl Day {
    fn new(seed: u64, ports: Option<(u16, u16)>, devices: usize) -> Day {
        let mut world = World::new(seed, MediaTransport::Udp, KEEPALIVE, false);
        world.held = Some(bytes_held);
        if let Some((first, last)) = ports {
            world.give_ports(first, last);
        }
        let clip = Clip::tiny();
        let quality = Quality {
            loss: 0.01,
            burst: 2.0,
            reorder: 0.02,
            duplicate: 0.005,
            jitter: Duration::from_millis(15),
            ..Quality::CLEAN
        };
        world.set_media(quality);
        for _ in 0..devices {
            let n = world.add_camera(&clip, quality);
            // A second has room for some of them.
            let wait = Duration::from_millis(60_000 / devices as u64);
            world.power_on(n);
            world.run_for(wait);
            match n % 4 {
                2 => world.force(n, "transport", "tcp-passive"),
                3 => world.force(n, "transport", "tcp-active"),
                _ => {}
            }
        }
        Day {
            world,
            off: Vec::new(),
            watching: Vec::new(),
            opened: 0,
            failed: 0,
            ports_refused: 0,
            restarts: [0; 2],
        }
    }

    fn devices(&self) -> u64 {
        self.world.cameras.len() as u64
    }

    /// A bit of the day: somebody comes to watch, somebody goes, a device loses power or its address.
    fn step(&mut self) {
        let now = self.world.now;
        let devices = self.devices();
        if self.world.dice.chance(0.5) {
            let n = self.world.dice.below(devices) as usize;
            let stays = Duration::from_secs(5 + self.world.dice.below(30));
            if let Some(request) = self.world.watch(n) {
                self.watching.push((request, now + stays));
            }
        }
        // Each device loses power about twice a day, and its address about twice.
        let per_step = devices as f64 * STEP.as_secs_f64() / 43_200.0;
        if self.world.dice.chance(per_step) {
            let n = self.world.dice.below(devices) as usize;
            if self.world.cameras[n].device.is_some() {
                self.world.power_off(n);
                let away = Duration::from_secs(5 + self.world.dice.below(600));
                self.off.push((n, now + away));
            }
        }
        if self.world.dice.chance(per_step) {
            let n = self.world.dice.below(devices) as usize;
            self.world.rebind(n);
        }
        let due: Vec<usize> = self
            .off
            .iter()
            .filter(|o| o.1 <= now)
            .map(|o| o.0)
            .collect();
        self.off.retain(|o| o.1 > now);
        for n in due {
            self.world.power_on(n);
            self.restarts[0] += 1;
        }
        self.end_due_watches();
        self.world.run_for(STEP);
    }

    fn end_due_watches(&mut self) {
        let now = self.world.now;
        let (due, stay) = std::mem::take(&mut self.watching)
            .into_iter()
            .partition(|(_, until)| *until <= now);
        self.watching = stay;
        self.end_watches(due);
    }

    fn end_watches(&mut self, ended: Vec<(RequestId, Instant)>) {
        for (request, _) in ended {
            if let Some(watch) = self.world.forget(request) {
                self.opened += u64::from(watch.opened_at.is_some());
                self.failed += u64::from(watch.opened_at.is_none());
            }
        }
    }

    /// As many views come and go as a node remembers: so what it keeps of the past is full.
    fn fill_memory(&mut self) {
        for n in 0..=limits::SESSIONS_CLOSED_MAX {
            let until = self.world.now + Duration::from_secs(5);
            let watched = self.world.watch(n % self.world.cameras.len());
            self.watching
                .extend(watched.map(|request| (request, until)));
            self.world.run_for(Duration::from_millis(100));
            self.end_due_watches();
        }
    }

    fn restart_node(&mut self) {
        let ended = std::mem::take(&mut self.watching);
        self.end_watches(ended);
        self.ports_refused += self.world.node.as_ref().map_or(0, Node::ports_refused);
        let gracefully = self.world.dice.chance(0.5);
        self.world.stop_node(gracefully);
        let away = Duration::from_secs(2 + self.world.dice.below(60));
        self.world.run_for(away);
        self.world.start_node();
        self.restarts[1] += 1;
    }

    /// A new node lives for a while, and everything is let go. Answers how much it holds then; another takes its place.
    fn weigh(&mut self, life: Duration) -> i64 {
        self.restart_node();
        self.fill_memory();
        self.live(life, life * 2);
        let ended = std::mem::take(&mut self.watching);
        self.end_watches(ended);
        for (n, _) in std::mem::take(&mut self.off) {
            self.world.power_on(n);
        }
        self.world.run_for(Duration::from_secs(240));
        let node = self.world.node.as_ref().expect("a node");
        assert_eq!(node.sizes(), Sizes::default());
        let gauges = node.platform.gauges();
        assert_eq!(gauges.devices_online as u64, self.devices());
        assert_eq!((gauges.queries_active, gauges.catalogs_coming), (0, 0));
        self.world.weigh_node()
    }

    fn live(&mut self, time: Duration, restart_every: Duration) {
        let end = self.world.now + time;
        let mut restart_at = self.world.now + restart_every;
        while self.world.now < end {
            self.step();
            if self.world.now >= restart_at {
                restart_at += restart_every;
                self.restart_node();
            }
            assert_eq!(self.world.wrongly_online(KEEPALIVE * 5), 0);
        }
    }
}

fn run(
    seed: u64,
    ports: Option<(u16, u16)>,
    devices: usize,
    time: Duration,
    restart_every: Duration,
) {
    let began = Instant::now();
    let mut day = Day::new(seed, ports, devices);
    let first = day.weigh(restart_every / 4);
    day.live(time, restart_every);
    let last = day.weigh(restart_every * 2);
    let wrongly = day.world.wrongly_offline_max();
    println!(
        "{devices} devices, {:?} of theirs in {:?}: {} restarts of devices, {} of the node, {} views, {} failed, {} ports \
         refused; wrongly offline at most {wrongly:?}; {first} bytes at first, {last} at last; {} events",
        day.world.now - day.world.start,
        began.elapsed(),
        day.restarts[0],
        day.restarts[1],
        day.opened,
        day.failed,
        day.ports_refused,
        day.world.events,
    );
    assert!(wrongly <= KEEPALIVE * 3, "{wrongly:?}");
    assert!(day.opened > 20 * (day.failed + 1) / 2, "views come about");
    assert_eq!(day.ports_refused > 0, ports.is_some());
    assert!(
        (last as f64) < first as f64 * GROWTH_MAX,
        "{first} bytes grew to {last}"
    );
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn devices_live_through_restarts_of_both_sides() {
    run(1, None, 200, HOUR, HOUR / 3);
}

#[test]
fn devices_live_through_restarts_of_both_sides_with_ports_of_their_own() {
    run(2, Some(PORTS), 200, HOUR, HOUR / 3);
}

#[test]
#[ignore = "a minute or two: run by .ci/run"]
fn a_day_of_a_thousand_devices() {
    run(1, None, 1_000, 24 * HOUR, 2 * HOUR);
}

#[test]
#[ignore = "a minute or two: run by .ci/run"]
fn a_day_of_a_thousand_devices_with_ports_of_their_own() {
    run(2, Some(PORTS), 1_000, 24 * HOUR, 2 * HOUR);
}
