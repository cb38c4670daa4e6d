//! A day of a thousand devices, with restarts of both sides, in virtual time.
//!
//! `cargo test` lives through an hour and a half. The whole day is an ignored test, run by `.ci/run`:
//! `cargo test --test integration -- --ignored a_day_of_a_thousand_devices`.

use std::time::{Duration, Instant};

use gantry::gb28181::MediaTransport;
use gantry::session::RequestId;

use super::clip::Clip;
use super::link::Quality;
use super::node::Sizes;
use super::world::World;
use crate::media_allocations::bytes_held;

const KEEPALIVE: Duration = Duration::from_secs(60);
/// Between two things that happen to the world.
const STEP: Duration = Duration::from_secs(10);
/// What a device may cost beside what it had at the first rest: maps that grew and did not shrink.
const GROWTH_MAX: f64 = 1.10;

struct Day {
    world: World,
    off: Vec<(usize, Instant)>,
    watching: Vec<(RequestId, Instant)>,
    opened: u64,
    failed: u64,
    restarts: [u64; 2],
}

impl Day {
    fn new(seed: u64, devices: usize) -> Day {
        let mut world = World::new(seed, MediaTransport::Udp, KEEPALIVE, false);
        world.held = Some(bytes_held);
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
        }
        Day {
            world,
            off: Vec::new(),
            watching: Vec::new(),
            opened: 0,
            failed: 0,
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
        let mut leaving = Vec::new();
        self.watching.retain(|(request, until)| {
            let stays = *until > now;
            if !stays {
                leaving.push(*request);
            }
            stays
        });
        for request in leaving {
            self.end_watch(request);
        }
        self.world.run_for(STEP);
    }

    fn end_watch(&mut self, request: RequestId) {
        self.world.leave(request);
        if let Some(node) = &mut self.world.node
            && let Some(watch) = node.watches.remove(&request)
        {
            self.opened += u64::from(watch.opened_at.is_some());
            self.failed += u64::from(watch.opened_at.is_none());
        }
    }

    fn restart_node(&mut self) {
        for (request, _) in std::mem::take(&mut self.watching) {
            self.end_watch(request);
        }
        let gracefully = self.world.dice.chance(0.5);
        self.world.stop_node(gracefully);
        let away = Duration::from_secs(2 + self.world.dice.below(60));
        self.world.run_for(away);
        self.world.start_node();
        self.restarts[1] += 1;
    }

    /// Everything is let go; answers how much the node holds then.
    fn rest(&mut self) -> i64 {
        for (request, _) in std::mem::take(&mut self.watching) {
            self.end_watch(request);
        }
        for (n, _) in std::mem::take(&mut self.off) {
            self.world.power_on(n);
        }
        self.world.run_for(Duration::from_secs(240));
        let node = self.world.node.as_ref().expect("a node");
        assert_eq!(node.sizes(), Sizes::default());
        let gauges = node.platform.gauges();
        assert_eq!(gauges.devices_online as u64, self.devices());
        assert_eq!((gauges.queries_active, gauges.catalogs_coming), (0, 0));
        self.world.node_bytes
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

fn run(devices: usize, time: Duration, restart_every: Duration) {
    let began = Instant::now();
    let mut day = Day::new(1, devices);
    // As much is used as ever will be: so what is there at the rests can be compared.
    day.live(restart_every / 2, restart_every);
    day.restart_node();
    day.live(restart_every / 4, restart_every);
    let first = day.rest();
    day.live(time, restart_every);
    day.restart_node();
    day.live(restart_every / 4, restart_every);
    let last = day.rest();
    let wrongly = day.world.wrongly_offline_max();
    println!(
        "{devices} devices, {:?} of theirs in {:?}: {} restarts of devices, {} of the node, {} views, {} failed; \
         wrongly offline at most {wrongly:?}; {first} bytes at first, {last} at last; {} events",
        day.world.now - day.world.start,
        began.elapsed(),
        day.restarts[0],
        day.restarts[1],
        day.opened,
        day.failed,
        day.world.events,
    );
    assert!(wrongly <= KEEPALIVE * 3, "{wrongly:?}");
    assert!(day.opened > 20 * (day.failed + 1) / 2, "views come about");
    assert!(
        (last as f64) < first as f64 * GROWTH_MAX,
        "{first} bytes grew to {last}"
    );
}

#[test]
fn devices_live_through_restarts_of_both_sides() {
    run(200, Duration::from_secs(5_400), Duration::from_secs(1_200));
}

#[test]
#[ignore = "a minute or two: run by .ci/run"]
fn a_day_of_a_thousand_devices() {
    run(
        1_000,
        Duration::from_secs(86_400),
        Duration::from_secs(7_200),
    );
}
